import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import { temporaryFolder } from '../support/repositories.ts';
import { size } from '../support/size.ts';

const program = fileURLToPath(new URL('../../src/cli/treeline.ts', import.meta.url));

interface Line {
  cursor: string;
  topic: string;
  op: string;
  entityId: string;
  data: { after?: { name?: string } };
}

type Child = ChildProcessByStdio<null, Readable, Readable>;

/** A stream's lines as they come; none is lost, and waiting for one is waiting for it to come. */
class Lines {
  readonly all: string[] = [];
  #waiting: (() => void)[] = [];

  constructor(stream: Readable) {
    createInterface({ input: stream }).on('line', (line) => {
      this.all.push(line);
      for (const wake of this.#waiting.splice(0)) wake();
    });
  }

  async until(matches: (line: string) => boolean, from = 0): Promise<string> {
    for (let index = from; ; index += 1) {
      while (index >= this.all.length) await new Promise<void>((resolve) => this.#waiting.push(resolve));
      const line = this.all[index] ?? '';
      if (matches(line)) return line;
    }
  }
}

class Watch {
  readonly child: Child;
  readonly err: Lines;
  #out: Lines | null = null;
  readonly #closed: Promise<unknown[]>;

  constructor(gateway: { url: string; token: string }, args: readonly string[], read: boolean) {
    this.child = spawn(process.execPath, [program, 'watch-feed', ...args], {
      env: { ...process.env, TREELINE_URL: gateway.url, TREELINE_TOKEN: gateway.token, TZ: 'UTC' },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.err = new Lines(this.child.stderr);
    this.#closed = once(this.child, 'close');
    if (read) this.read();
  }

  /** Nothing is taken from its standard output before. */
  read(): void {
    this.#out ??= new Lines(this.child.stdout);
  }

  get out(): Lines {
    if (this.#out === null) throw new Error('not being read yet');
    return this.#out;
  }

  /** Of the projects that came, as printed with --json. */
  get names(): string[] {
    return namesIn(this.out.all);
  }

  until(name: string): Promise<string> {
    return this.out.until((line) => namesIn([line]).includes(name));
  }

  /** All of its output has been read once it resolves. */
  async ended(): Promise<number | null> {
    this.read();
    const [code] = await this.#closed;
    return code as number | null;
  }

  async end(signal: NodeJS.Signals): Promise<number | null> {
    this.child.kill(signal);
    return await this.ended();
  }
}

function namesIn(lines: readonly string[]): string[] {
  return lines
    .map((line) => JSON.parse(line) as Line)
    .filter(({ topic, op }) => topic === 'projects' && op === 'INSERT')
    .map(({ data }) => data.after?.name ?? '');
}

describe('treeline watch-feed', () => {
  const folder = temporaryFolder();
  const running: Watch[] = [];
  let gateway: TestGateway;
  let database: TestDatabase;

  beforeAll(async () => {
    database = await createTestDatabase();
    gateway = await startGateway({ database });
  });
  afterEach(async () => {
    for (const watch of running.splice(0)) {
      if (watch.child.exitCode === null && watch.child.signalCode === null) await watch.end('SIGKILL');
    }
  });
  afterAll(async () => {
    await gateway.close();
    await database.close();
    folder.remove();
  });

  function watch(args: readonly string[], { at = gateway, read = true } = {}): Watch {
    const started = new Watch(at, args, read);
    running.push(started);
    return started;
  }

  async function now(): Promise<string> {
    return (await gateway.ask<{ cursor: string }>('{ cursor }')).cursor;
  }

  /** In SQL, so that it works while no gateway runs. */
  async function addProjects(...names: string[]): Promise<void> {
    await database.owner.query(`select registry.register_project(name, null) from unnest($1::text[]) as name`, [names]);
  }

  async function addWorktree(slug: string, agentId: string) {
    const { registerWorktree } = await gateway.ask<{ registerWorktree: { worktree: { id: string } } }>(
      `mutation ($input: RegisterWorktreeInput!) { registerWorktree(input: $input) { worktree { id } userErrors { message } } }`,
      {
        input: {
          project: { slug },
          type: 'feat',
          name: `feat-${slug}`,
          branchName: `feat/${slug}`,
          path: `/srv/${slug}`,
          agentId,
        },
      },
    );
    return registerWorktree.worktree.id;
  }

  test('prints who did what to which thing of which project', async () => {
    await addProjects('Readable');
    const after = await now();
    const worktree = await addWorktree('readable', 'agent-1');
    await gateway.ask(
      `mutation ($w: ID!) {
        updateWorktreeGitState(input: { worktree: { id: $w }, uncommittedFilesCount: 3 }) { userErrors { message } }
        claimWorktree(input: { worktree: { id: $w }, agentId: "agent-2" }) { userErrors { message } }
        logActivities(input: { activities: [{ agentId: "agent-2", worktree: { id: $w }, type: MODIFIED, description: "x", filePath: "src/a.ts" }] }) { cursor }
      }`,
      { w: worktree },
    );
    const { out } = watch(['--after', after]);
    await out.until((line) => line.includes('activities'));
    const shown = out.all.map((line) => {
      expect(line).toMatch(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d {2}/);
      return line.slice(21).split(/ {2,}/);
    });
    expect(shown[0]).toEqual(['worktrees', 'insert', 'feat-readable', 'readable', 'agent-1']);
    expect(shown).toContainEqual([
      'worktrees',
      'update',
      'feat-readable',
      'readable',
      'agent-1',
      expect.stringMatching(/uncommitted_files_count.*status/),
    ]);
    expect(shown).toContainEqual(['claims', 'insert', 'feat-readable', 'readable', 'agent-2', 'acquired']);
    expect(shown.at(-1)).toEqual(['activities', 'insert', 'feat-readable', 'readable', 'agent-2', 'modified src/a.ts']);
  });

  test('a name that would move the cursor of the terminal does not', async () => {
    const after = await now();
    await addProjects('Evil\u001b[2J\u202egnp');
    const { out } = watch(['--after', after]);
    const line = await out.until((text) => text.includes('Evil'));
    // biome-ignore lint/suspicious/noControlCharactersInRegex: those are what must not be there
    expect(line).not.toMatch(/[\u0000-\u001f\u202e]/);
  });

  test('shows only the topics and the project that were asked for', async () => {
    await addProjects('Wanted', 'Other');
    const after = await now();
    await addWorktree('other', 'agent-1');
    await addWorktree('wanted', 'agent-1');
    await gateway.ask(
      `mutation { claimWorktree(input: { worktree: { path: { path: "/srv/wanted" } }, agentId: "agent-1" }) { userErrors { message } } }`,
    );
    const { out } = watch(['--after', after, '--topic', 'worktrees', 'claims', '--project', 'wanted', '--json']);
    await out.until((line) => (JSON.parse(line) as Line).topic === 'claims');
    expect(out.all.map((line) => (JSON.parse(line) as Line).topic)).toEqual(['worktrees', 'claims']);
    expect(new Set(out.all.map((line) => (JSON.parse(line) as Line).entityId)).size).toBe(1);
  });

  test('on Ctrl-C it says how to go on, and goes on there', async () => {
    const first = watch(['--after', await now(), '--json', '--topic', 'projects']);
    await addProjects('Before');
    await first.until('Before');
    expect(await first.end('SIGINT')).toBe(0);
    const advice = first.err.all.at(-1) ?? '';
    expect(advice).toMatch(/treeline watch-feed --topic projects --json --after \S+$/);
    await addProjects('After');
    const second = watch(advice.slice(advice.indexOf('--topic')).split(' '));
    await second.until('After');
    expect(second.names).toEqual(['After']);
  });

  test('with --state it shows each event exactly once, however often it is stopped in the midst of them', async () => {
    const state = join(folder.path, 'exactly');
    writeFileSync(state, `${await now()}\n`);
    const expected: string[] = [];
    let enough = false;
    const writing = (async () => {
      while (!enough) {
        const name = `exactly-${expected.length}`;
        expected.push(name);
        await addProjects(name);
      }
    })();
    const shown: string[] = [];
    for (let round = 0; round < size(30); round += 1) {
      const one = watch(['--json', '--state', state]);
      await one.out.until(() => true, round * 30);
      expect(await one.end(round % 2 === 0 ? 'SIGTERM' : 'SIGINT')).toBe(0);
      expect(one.err.all).toEqual([]);
      shown.push(...one.names);
    }
    enough = true;
    await writing;
    const last = watch(['--json', '--state', state]);
    await last.until(expected.at(-1) ?? '');
    expect([...shown, ...last.names]).toEqual(expected);
  }, 120_000);

  test('with --state and killed outright, it misses nothing', async () => {
    const state = join(folder.path, 'killed');
    writeFileSync(state, await now());
    const first = watch(['--json', '--state', state]);
    await addProjects('killed-0', 'killed-1');
    await first.until('killed-1');
    await first.end('SIGKILL');
    await addProjects('killed-2');
    const second = watch(['--json', '--state', state]);
    await second.until('killed-2');
    await second.end('SIGTERM');
    expect(new Set([...first.names, ...second.names])).toEqual(new Set(['killed-0', 'killed-1', 'killed-2']));
    expect(readFileSync(state, 'utf8').trim()).toBe((JSON.parse(second.out.all.at(-1) ?? '') as Line).cursor);
  });

  test('while nobody reads its output it does not read either, and goes on after the last event it took', async () => {
    const slow = await startGateway({
      database,
      environment: { TREELINE_STALL_MS: '100', TREELINE_STREAM_QUEUE: '50', TREELINE_ADMIN_TOKEN: gateway.token },
    });
    try {
      const expected = Array.from({ length: 20_000 }, (_, n) => `stuck-${n}`);
      const one = watch(['--json', '--after', await now(), '--topic', 'projects'], {
        at: { ...slow, token: gateway.token },
        read: false,
      });
      // Not by the function, which holds a lock for each until all are done.
      await database.owner.query(
        'insert into registry.projects (slug, name) select name, name from unnest($1::text[]) as name',
        [expected],
      );
      const isDropped = /^treeline_streams_dropped_total\{reason="(stalled|resync)"\} [1-9]/m;
      await expect
        .poll(async () => await (await fetch(`${slow.url}/metrics`)).text(), { timeout: 20_000 })
        .toMatch(isDropped);
      one.read();
      await one.until(expected.at(-1) ?? '');
      await one.end('SIGTERM');
      expect(one.names).toEqual(expected);
    } finally {
      await slow.close();
    }
  }, 60_000);

  test('what is no cursor is refused with a clear message', async () => {
    const one = watch(['--after', 'nonsense']);
    expect(await one.ended()).toBe(1);
    expect(one.err.all).toEqual([expect.stringMatching(/^What --after names is no cursor of this gateway/)]);
    const state = join(folder.path, 'nonsense');
    writeFileSync(state, 'nonsense');
    const other = watch(['--state', state]);
    expect(await other.ended()).toBe(1);
    expect(other.err.all).toEqual([
      `What ${state} holds is no cursor of this gateway. Remove the file to begin from now.`,
    ]);
  });

  test('a state file that cannot be written is refused before anything is printed', async () => {
    const one = watch(['--state', join(folder.path, 'nowhere', 'state')]);
    expect(await one.ended()).toBe(1);
    expect(one.err.all).toEqual([expect.stringMatching(/^The cursor cannot be kept in/)]);
  });

  test('a wrong token, and one that is revoked meanwhile, end it with code 1', async () => {
    const wrong = watch(['--after', await now()], { at: { ...gateway, token: `tl_${'x'.repeat(43)}` } });
    expect(await wrong.ended()).toBe(1);
    expect(wrong.err.all).toEqual([expect.stringMatching(/^The token is not valid here\. .*TREELINE_TOKEN/)]);

    const { createToken } = await gateway.ask<{ createToken: { token: string; record: { id: string } } }>(
      `mutation { createToken(input: { name: "watch", scopes: [REGISTRY_READ] }) { token record { id } } }`,
    );
    const revoked = watch(['--json', '--after', await now()], { at: { ...gateway, token: createToken.token } });
    await addProjects('Revoked');
    await revoked.until('Revoked');
    await gateway.ask(`mutation ($id: ID!) { revokeToken(input: { token: $id }) { token { id } } }`, {
      id: createToken.record.id,
    });
    expect(await revoked.ended()).toBe(1);
    expect(revoked.err.all).toEqual([expect.stringMatching(/^The token was revoked.*TREELINE_TOKEN/)]);
  });
});

describe('treeline watch-feed and a gateway that goes', () => {
  const folder = temporaryFolder();
  let database: TestDatabase;
  beforeAll(async () => {
    database = await createTestDatabase();
  });
  afterAll(async () => {
    await database.close();
    folder.remove();
  });

  /** On a port below those that systems give out by themselves, so that it is still free when the next one wants it. */
  async function startOnPort(port: number | null, token: string): Promise<TestGateway> {
    for (;;) {
      const wanted = port ?? 10_000 + Math.floor(Math.random() * 20_000);
      try {
        return await startGateway({
          database,
          environment: { PORT: String(wanted), TREELINE_ADMIN_TOKEN: token },
        });
      } catch (error) {
        if (port !== null || !(error as Error).message.includes('is taken')) throw error;
      }
    }
  }

  async function addProjects(...names: string[]): Promise<void> {
    await database.owner.query(`select registry.register_project(name, null) from unnest($1::text[]) as name`, [names]);
  }

  test('it waits for the next one and goes on, with nothing missed and nothing twice', async () => {
    const token = `tl_${'w'.repeat(43)}`;
    let gateway = await startOnPort(null, token);
    const port = Number(new URL(gateway.url).port);
    const state = join(folder.path, 'restarts');
    const { cursor } = await gateway.ask<{ cursor: string }>('{ cursor }', {}, { token });
    writeFileSync(state, cursor);
    const watch = new Watch({ url: gateway.url, token }, ['--json', '--state', state], true);
    const expected: string[] = [];
    const add = async (name: string) => {
      expected.push(name);
      await addProjects(name);
    };
    try {
      for (let round = 0; round < 3; round += 1) {
        await add(`up-${round}`);
        await watch.until(`up-${round}`);
        const seen = watch.err.all.length;
        // While it closes, too: some of these are told by it, some by the next.
        const closing = gateway.close();
        for (let n = 0; n < 20; n += 1) await add(`closing-${round}-${n}`);
        await closing;
        await watch.err.until((line) => /is gone \(.+\)/.test(line), seen);
        await add(`down-${round}`);
        gateway = await startOnPort(port, token);
        await watch.err.until((line) => line.endsWith('is back: going on after the last event.'), seen);
        await watch.until(`down-${round}`);
      }
      expect(await watch.end('SIGTERM')).toBe(0);
      expect(watch.names).toEqual(expected);
    } finally {
      if (watch.child.exitCode === null) await watch.end('SIGKILL');
      await gateway.close();
    }
  });

  test('where the log was cut meanwhile it says so and goes on from now', async () => {
    const token = `tl_${'w'.repeat(43)}`;
    const gateway = await startOnPort(null, token);
    try {
      const { cursor } = await gateway.ask<{ cursor: string }>('{ cursor }', {}, { token });
      await addProjects('Dropped');
      // As retention does it, for what is older than a day.
      await database.owner.query(`update feed.events set at = at - interval '3 days'`);
      await database.owner.query('select feed.drop_old(1)');
      const watch = new Watch({ url: gateway.url, token }, ['--json', '--after', cursor], true);
      await watch.err.until((line) => line.includes('events may have been missed'));
      // It takes its new cursor after it has said so: what is added from some moment on is shown.
      for (let n = 0; watch.names.length === 0; n += 1) await addProjects(`Later ${n}`);
      expect(watch.names[0]).toMatch(/^Later/);
      expect(await watch.end('SIGINT')).toBe(0);
    } finally {
      await gateway.close();
    }
  });
});
