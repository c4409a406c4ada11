import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chown, mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type EmbeddedServer, startEmbedded } from '../../src/embedded/embedded.ts';
import { identify } from '../../src/embedded/processes.ts';
import { createLogger } from '../../src/kernel/logger.ts';
import { size } from '../support/size.ts';
import { Bench, kill, killPid, query, started } from './gateways.ts';

const log = createLogger('silent');
const isRoot = process.getuid?.() === 0;

let bench: Bench;
let dataDir: string;

beforeEach(async () => {
  bench = new Bench();
  dataDir = await bench.folder();
});
afterEach(() => bench.clean());

async function withServer<T>(action: (server: EmbeddedServer) => Promise<T>): Promise<T> {
  const server = await startEmbedded({ dataDir, log, durable: false });
  try {
    return await action(server);
  } finally {
    await server.stop();
  }
}

const keep = 'create table registry_of_test as select 42 as answer';
const kept = 'select answer from registry_of_test';

describe('an embedded server that runs', () => {
  const home = new Bench();
  let folder: string;
  let server: EmbeddedServer;
  beforeAll(async () => {
    folder = await home.folder();
    server = await startEmbedded({ dataDir: folder, log, durable: false });
  });
  afterAll(async () => {
    await server.stop();
    await home.clean();
  });

  it('is a PostgreSQL 18 on loopback, whose owner is no superuser and whose runtime login is a member of treeline_runtime', async () => {
    const { ownerUrl, runtimeUrl } = server;
    const [owner] = await query(
      ownerUrl,
      `select current_setting('server_version_num')::int / 10000 as version, current_setting('listen_addresses') as listens,
         current_setting('search_path') as search_path, current_setting('server_encoding') as encoding,
         rolname, rolsuper, rolcreatedb, rolcreaterole, rolbypassrls,
         pg_has_role('pg_monitor', 'USAGE') as monitors, pg_has_role('treeline_runtime', 'SET') as takes_on
       from pg_roles where rolname = current_user`,
    );
    expect(owner).toEqual({
      version: 18,
      listens: '127.0.0.1',
      search_path: 'registry, public',
      encoding: 'UTF8',
      rolname: 'treeline',
      rolsuper: false,
      rolcreatedb: true,
      rolcreaterole: true,
      rolbypassrls: false,
      monitors: true,
      takes_on: true,
    });
    const [gateway] = await query(
      runtimeUrl,
      `select rolname, rolsuper, rolbypassrls, rolcreaterole, pg_has_role('treeline_runtime', 'SET') as takes_on,
         pg_has_role('treeline', 'MEMBER') as is_owner
       from pg_roles where rolname = current_user`,
    );
    expect(gateway).toEqual({
      rolname: 'treeline_gateway',
      rolsuper: false,
      rolbypassrls: false,
      rolcreaterole: false,
      takes_on: true,
      is_owner: false,
    });
  });

  it('knows letters of every script, in trigrams too', async () => {
    const { ownerUrl } = server;
    await query(ownerUrl, 'create extension pg_trgm');
    const rows = await query(ownerUrl, `select lower('ÄÖ') as lower, cardinality(show_trgm('größe')) as trigrams`);
    expect(rows).toEqual([{ lower: 'äö', trigrams: 6 }]);
  });

  it('asks every login for a password', async () => {
    const { port } = server;
    const asked = query(`postgresql://postgres:guess@127.0.0.1:${port}/postgres`, 'select 1');
    await expect(asked).rejects.toThrow(/password authentication failed/);
  });

  it('has a login for backups, which reads what is private from the owner too, and writes nothing', async () => {
    const { ownerUrl } = server;
    const backupUrl = (await readFile(join(folder, 'backup-url'), 'utf8')).trim();
    await query(
      ownerUrl,
      `create table secret as select 42 as answer; alter table secret enable row level security, force row level security`,
    );
    expect(await query(ownerUrl, 'select answer from secret')).toEqual([]);
    expect(await query(backupUrl, 'select answer from secret')).toEqual([{ answer: 42 }]);
    await expect(query(backupUrl, 'delete from secret')).rejects.toThrow(/permission denied/);
  });
});

describe('an embedded server', () => {
  it("keeps the owner's URL in a file that only its owner can read, while it runs", async () => {
    await withServer(async ({ ownerUrl }) => {
      expect(await readFile(join(dataDir, 'url'), 'utf8')).toBe(`${ownerUrl}\n`);
      expect((await stat(join(dataDir, 'url'))).mode & 0o777).toBe(0o600);
      expect((await stat(join(dataDir, 'backup-url'))).mode & 0o777).toBe(0o600);
      expect((await stat(join(dataDir, 'postgres', 'passwords.json'))).mode & 0o777).toBe(0o600);
    });
    await expect(stat(join(dataDir, 'url'))).rejects.toThrow(/ENOENT/);
    await expect(stat(join(dataDir, 'backup-url'))).rejects.toThrow(/ENOENT/);
  });

  it('is gone after stop, however often that is called, and has its data when it starts again', async () => {
    const pid = await withServer(async (server) => {
      await query(server.ownerUrl, keep);
      await Promise.all([server.stop(), server.stop()]);
      return server.pid;
    });
    expect(await identify(pid)).toBeNull();
    await withServer(async ({ ownerUrl }) => expect(await query(ownerUrl, kept)).toEqual([{ answer: 42 }]));
  });

  it('ends when its gateway ends without stopping it', async () => {
    const gateway = await bench.gateway(dataDir);
    const { serverPid } = started(gateway);
    gateway.child.stdin?.write('exit\n');
    await once(gateway.child, 'exit');
    // It ends by itself, a moment after its gateway; starting again waits for that.
    await withServer(async ({ pid }) => expect(pid).not.toBe(serverPid));
    expect(await identify(serverPid)).toBeNull();
  });

  it('starts on another port when its last one is taken', async () => {
    const port = await withServer(async (server) => server.port);
    const squatter = createServer().listen(port, '127.0.0.1');
    await once(squatter, 'listening');
    try {
      await withServer(async (server) => expect(server.port).not.toBe(port));
    } finally {
      squatter.close();
    }
  });
});

describe('after a crash', () => {
  it('of the gateway, ends the server that it left running and keeps what was committed', async () => {
    const gateway = await bench.gateway(dataDir);
    const { ownerUrl, serverPid } = started(gateway);
    await query(ownerUrl, keep);
    await kill(gateway.child);
    expect(await identify(serverPid)).not.toBeNull();
    await withServer(async (server) => {
      expect(await identify(serverPid)).toBeNull();
      expect(await query(server.ownerUrl, kept)).toEqual([{ answer: 42 }]);
    });
  });

  it('of gateway and server at once, recovers, though workers of the dead server still compute', async () => {
    const gateway = await bench.gateway(dataDir);
    const { ownerUrl, serverPid } = started(gateway);
    await query(ownerUrl, keep);
    // A backend that computes does not notice that its postmaster died, and holds the shared memory meanwhile.
    const busy = query(ownerUrl, 'select count(*) from generate_series(1, 1000000000)').catch(() => 'ended');
    await kill(gateway.child);
    await killPid(serverPid);
    await withServer(async (server) => expect(await query(server.ownerUrl, kept)).toEqual([{ answer: 42 }]));
    expect(await busy).toBe('ended');
  });

  it('of the whole machine, is not misled by a postmaster.pid whose number belongs to another program now', async () => {
    await withServer(({ ownerUrl }) => query(ownerUrl, keep));
    const cluster = join(dataDir, 'postgres', 'data');
    const { uid, gid } = await stat(cluster);
    const innocent = spawn('sleep', ['60'], isRoot ? { uid, gid } : {});
    await once(innocent, 'spawn');
    try {
      const pidFile = join(cluster, 'postmaster.pid');
      await writeFile(pidFile, `${innocent.pid}\n${cluster}\n1700000000\n5432\n\n127.0.0.1\n`, { mode: 0o600 });
      await chown(pidFile, uid, gid);
      await withServer(async (server) => expect(await query(server.ownerUrl, kept)).toEqual([{ answer: 42 }]));
      expect(innocent.exitCode).toBeNull();
    } finally {
      innocent.kill();
    }
  });

  it('in the middle of the first start, makes the cluster anew', async () => {
    await mkdir(join(dataDir, 'postgres', 'draft-1', 'data', 'base'), { recursive: true });
    await writeFile(join(dataDir, 'postgres', 'draft-1', 'data', 'PG_VERSION'), '18\n');
    await withServer(async ({ ownerUrl }) => expect(await query(ownerUrl, 'select 1 as one')).toEqual([{ one: 1 }]));
    await expect(stat(join(dataDir, 'postgres', 'draft-1'))).rejects.toThrow(/ENOENT/);
  });

  it('that took the passwords along, makes new ones', async () => {
    await withServer(({ ownerUrl }) => query(ownerUrl, keep));
    await rm(join(dataDir, 'postgres', 'passwords.json'));
    await withServer(async ({ ownerUrl }) => expect(await query(ownerUrl, kept)).toEqual([{ answer: 42 }]));
  });
});

describe('a data directory', () => {
  it('is refused to a second gateway, with the first one and what to do', async () => {
    const gateway = await bench.gateway(dataDir);
    const second = startEmbedded({ dataDir, log, durable: false });
    await expect(second).rejects.toThrow(
      new RegExp(`process ${gateway.child.pid}\\).*${dataDir}.*kill ${gateway.child.pid}.*TREELINE_DATA_DIR`),
    );
    expect(await query(started(gateway).ownerUrl, 'select 1 as one')).toEqual([{ one: 1 }]);
  });

  it('goes to exactly one of several gateways that start at once on a fresh folder', async () => {
    const gateways = await Promise.all(Array.from({ length: size(30) }, () => bench.gateway(dataDir)));
    const winners = gateways.filter(({ report }) => report.started);
    expect(winners).toHaveLength(1);
    const [winner] = winners;
    for (const { report } of gateways.filter((gateway) => gateway !== winner)) {
      expect(report).toMatchObject({ refusal: expect.stringContaining(`process ${winner?.child.pid})`) });
    }
  });

  it('of another major version is refused before it is touched', async () => {
    const cluster = join(dataDir, 'postgres', 'data');
    await mkdir(cluster, { recursive: true });
    await writeFile(join(cluster, 'PG_VERSION'), '17\n');
    await expect(startEmbedded({ dataDir, log })).rejects.toThrow(/made by PostgreSQL 17, .* brings 18/);
  });

  it('that is a file is refused with what to do', async () => {
    const file = join(dataDir, 'file');
    await writeFile(file, '');
    await expect(startEmbedded({ dataDir: file, log })).rejects.toThrow(/cannot be used.*another TREELINE_DATA_DIR/);
  });
});

describe('under root', () => {
  it.skipIf(!isRoot)('runs as another user, to whom the cluster belongs', async () => {
    await withServer(async ({ pid }) => {
      const status = await readFile(`/proc/${pid}/status`, 'utf8');
      const uid = Number(/^Uid:\s+(\d+)/m.exec(status)?.[1]);
      expect(uid).not.toBe(0);
      expect((await stat(join(dataDir, 'postgres', 'data'))).uid).toBe(uid);
    });
  });

  it.skipIf(!isRoot)('works below a private folder, with the cluster where its user can reach it', async () => {
    const below = join(dataDir, 'private', '.treeline');
    await mkdir(join(dataDir, 'private'), { mode: 0o700 });
    const first = await startEmbedded({ dataDir: below, log, durable: false });
    await query(first.ownerUrl, keep).finally(() => first.stop());
    const second = await startEmbedded({ dataDir: below, log, durable: false });
    const rows = await query(second.ownerUrl, kept).finally(() => second.stop());
    expect(rows).toEqual([{ answer: 42 }]);
  });
});

describe('under an ordinary user', () => {
  // Only root can become somebody else; without root every test above is this one.
  it.skipIf(!isRoot)('starts, and starts again', async ({ skip }) => {
    const nobody = { uid: 65_534, gid: 65_534 };
    const reaches = spawn(process.execPath, ['--version'], { ...nobody, stdio: 'ignore' });
    const [code] = await once(reaches, 'exit').catch(() => [null]);
    skip(code !== 0, 'this checkout cannot be reached by an ordinary user');
    await chown(dataDir, nobody.uid, nobody.gid);
    for (const expected of ['first', 'second']) {
      const gateway = await bench.gateway(dataDir, { ...nobody, cwd: '/' });
      const rows = await query(started(gateway).ownerUrl, 'select current_user as me');
      expect(rows, expected).toEqual([{ me: 'treeline' }]);
      gateway.child.stdin?.write('stop\n');
      await once(gateway.child, 'exit');
    }
    expect((await stat(join(dataDir, 'postgres', 'data'))).uid).toBe(nobody.uid);
  });
});
