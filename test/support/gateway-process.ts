import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Watchable } from './watch.ts';

const program = fileURLToPath(new URL('../../src/main.ts', import.meta.url));

/** The gateway as an operator runs it, in a process of its own: one that a test can kill. */
export interface GatewayProcess extends Watchable {
  child: ChildProcess;
  ask<Data>(query: string, variables?: Record<string, unknown>, options?: { token?: string | null }): Promise<Data>;
  /** As a machine that fails: no goodbye. */
  kill(): Promise<void>;
  stop(): Promise<void>;
}

/** @param token of an administrator; several gateways of one database share it */
export async function spawnGateway(options: {
  databaseUrl: string;
  token?: string;
  environment?: Record<string, string>;
}): Promise<GatewayProcess> {
  const token = options.token ?? makeToken();
  const dataDir = await mkdtemp(join(tmpdir(), 'treeline-test-'));
  const child = spawn(process.execPath, [program], {
    env: {
      ...process.env,
      PORT: '0',
      DATABASE_URL: options.databaseUrl,
      TREELINE_DATA_DIR: dataDir,
      TREELINE_ADMIN_TOKEN: token,
      TREELINE_MAINTENANCE: 'off',
      TREELINE_DISPATCH: 'off',
      TREELINE_LOG: 'error',
      ...options.environment,
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  const url = await readUrl(child);
  const end = async (signal: NodeJS.Signals) => {
    if (child.exitCode === null && child.signalCode === null) child.kill(signal);
    await exited;
    await rm(dataDir, { recursive: true, force: true });
  };
  return {
    url,
    wsUrl: url.replace('http', 'ws'),
    token,
    child,
    async ask(query, variables = {}, options = {}) {
      const response = await fetch(`${url}/graphql`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: `Bearer ${options.token ?? token}` },
        body: JSON.stringify({ query, variables }),
      });
      const { data, errors } = (await response.json()) as { data: never; errors?: unknown };
      if (errors !== undefined) throw new Error(`unexpected errors: ${JSON.stringify(errors)}`);
      return data;
    },
    kill: () => end('SIGKILL'),
    stop: () => end('SIGTERM'),
  };
}

export function makeToken(): string {
  return `tl_${randomBytes(32).toString('base64url')}`;
}

async function readUrl({ stdout }: ChildProcess): Promise<string> {
  if (stdout === null) throw new Error('expected a standard output');
  for await (const line of createInterface({ input: stdout })) {
    const url = /http:\/\/[^/\s]+/.exec(line)?.[0];
    if (url !== undefined) return url;
  }
  throw new Error('the gateway ended before it listened');
}
