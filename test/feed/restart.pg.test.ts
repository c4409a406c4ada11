import { chmod, mkdtemp, rm } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { expect, test } from 'vitest';
import { type EmbeddedServer, startEmbedded } from '../../src/embedded/embedded.ts';
import { createLogger } from '../../src/kernel/logger.ts';
import { spawnGateway } from '../support/gateway-process.ts';
import { full } from '../support/size.ts';
import { watch } from '../support/watch.ts';

const log = createLogger('error');
const document = 'subscription ($after: Cursor) { events(topics: ["worktrees"], after: $after) { cursor data } }';

/** One address for a server whose port changes with each start, as a service's name would be. */
async function front(): Promise<{ port: number; lead: (port: number | null) => void; close: () => Promise<void> }> {
  let target: number | null = null;
  const sockets = new Set<Socket>();
  const server = createServer((near) => {
    if (target === null) {
      near.destroy();
      return;
    }
    const far = connect(target, '127.0.0.1');
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(one);
      one.on('error', () => {});
      one.on('close', () => {
        sockets.delete(one);
        other.destroy();
      });
      one.pipe(other);
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    lead: (port) => {
      target = port;
    },
    close: () => {
      for (const socket of sockets) socket.destroy();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}

test('PostgreSQL restarts under load: the gateway recovers by itself, says so, and nothing is missed', async () => {
  const dataDir = await mkdtemp(join(tmpdir(), 'treeline-restart-'));
  await chmod(dataDir, 0o755);
  // Durable: what a killed server forgets nobody can tell of.
  const start = () => startEmbedded({ dataDir, log });
  let server: EmbeddedServer = await start();
  const { port, lead, close } = await front();
  lead(server.port);
  const url = new URL(server.ownerUrl);
  url.port = String(port);
  const gateway = await spawnGateway({ databaseUrl: url.href, environment: { TREELINE_LOG: 'silent' } });
  const ready = async () => (await fetch(`${gateway.url}/ready`)).status;
  const untilReady = async (wanted: number) => {
    while ((await ready()) !== wanted);
  };
  await gateway.ask(`mutation {
    registerProject(input: { name: "restart" }) { project { id } }
    registerWorktree(input: { project: { slug: "restart" }, type: "feat", name: "w", branchName: "b", path: "/restart" }) { created }
  }`);
  expect(await ready()).toBe(200);

  let watching = await watch<{ cursor: string; data: { after: { agent_id: string } } }>(gateway, document);
  const told: string[] = [];
  let after: string | null = null;
  let done = false;
  const following = (async () => {
    while (!done) {
      try {
        const { data, cursor } = await watching.next();
        told.push(data.after.agent_id);
        after = cursor;
        done = data.after.agent_id === 'the end';
      } catch {
        // The gateway itself has gone: let the test say so.
        if (gateway.child.exitCode !== null) throw new Error('the gateway ended');
        watching = await watch(gateway, document, { after });
      }
    }
  })();

  /** Names of changes that were certainly stored, and of those of which nobody knows. */
  const stored: string[] = [];
  const unknown = new Set<string>();
  let writing = true;
  const load = (async () => {
    for (let n = 0; writing; n += 1) {
      const name = `n${n}`;
      try {
        await gateway.ask(
          'mutation ($name: String!) { updateWorktree(input: { worktree: { path: { path: "/restart" } }, agentId: $name }) { userErrors { code } } }',
          { name },
        );
        stored.push(name);
      } catch {
        unknown.add(name);
      }
    }
  })();
  const progress = async () => {
    const reached = stored.length + 5;
    while (stored.length < reached) await new Promise(setImmediate);
  };

  for (let round = 0; round < (full ? 5 : 2); round += 1) {
    await progress();
    // By turns shut down and killed.
    if (round % 2 === 0) {
      await server.stop();
    } else {
      process.kill(server.pid, 'SIGKILL');
      await server.gone;
      await server.stop();
    }
    lead(null);
    await untilReady(503);
    server = await start();
    lead(server.port);
    await untilReady(200);
  }
  await progress();
  writing = false;
  await load;
  const client = new pg.Client({ connectionString: server.ownerUrl });
  await client.connect();
  await client.query(`update registry.worktrees set agent_id = 'the end'`);
  await client.end();
  await following;

  expect(told.length).toBe(new Set(told).size);
  expect(told.filter((name) => !unknown.has(name))).toEqual([...stored, 'the end']);
  await watching.close();
  await gateway.stop();
  await server.stop();
  await close();
  await rm(dataDir, { recursive: true, force: true });
}, 120_000);
