import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { DatabaseUrls } from './databases.ts';

/** A server under measurement: a process of its own, so that its processor time is its own. */
export interface Contender {
  name: string;
  url: string;
  headers: Record<string, string>;
  /** Processor seconds that the process has used so far. */
  cpuSeconds(): Promise<number>;
  stop(): Promise<void>;
}

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const poolSize = '10';

export async function startGateway({ ownerUrl, runtimeUrl }: DatabaseUrls, name = 'Treeline'): Promise<Contender> {
  const token = `tl_${randomBytes(32).toString('base64url')}`;
  const dataDir = await mkdtemp(join(tmpdir(), 'treeline-bench-gateway-'));
  const profile = process.env.BENCH_PROFILE;
  const flags = profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profile}`];
  const child = launch([...flags, here('../src/main.ts')], {
    DATABASE_URL: ownerUrl,
    ...(runtimeUrl === undefined ? {} : { DATABASE_RUNTIME_URL: runtimeUrl }),
    PORT: '0',
    TREELINE_ADMIN_TOKEN: token,
    TREELINE_DATA_DIR: dataDir,
    TREELINE_MAINTENANCE: 'off',
    TREELINE_LOG: 'warn',
    TREELINE_POOL_SIZE: poolSize,
  });
  const line = await firstLine(child);
  const url = /http:\/\/[^/\s]+/.exec(line)?.[0] ?? '';
  return contender(name, child, `${url}/graphql`, { authorization: `Bearer ${token}` }, () =>
    rm(dataDir, { recursive: true, force: true }),
  );
}

export async function startPeer(
  name: string,
  script: string,
  path: string,
  { ownerUrl }: DatabaseUrls,
): Promise<Contender> {
  const child = launch([here(script)], {
    DATABASE_URL: ownerUrl,
    TREELINE_POOL_SIZE: poolSize,
    GRAPHILE_ENV: 'production',
  });
  return contender(name, child, (await firstLine(child)) + path, {}, async () => {});
}

function launch(args: readonly string[], environment: Record<string, string>): ChildProcess {
  return spawn(process.execPath, args, {
    env: { ...process.env, NODE_ENV: 'production', ...environment },
    stdio: ['ignore', 'pipe', process.env.BENCH_VERBOSE === undefined ? 'ignore' : 'inherit'],
  });
}

/** Each server prints where it listens as its first line. */
async function firstLine(child: ChildProcess): Promise<string> {
  const { stdout } = child;
  if (stdout === null) throw new Error('a contender without standard output');
  let text = '';
  for await (const chunk of stdout as AsyncIterable<Buffer>) {
    text += chunk.toString();
    if (text.includes('\n')) break;
  }
  const [line = ''] = text.split('\n');
  if (line === '') throw new Error('a contender ended before it listened; set BENCH_VERBOSE=1 to see why');
  return line;
}

function contender(
  name: string,
  child: ChildProcess,
  url: string,
  headers: Record<string, string>,
  cleanUp: () => Promise<void>,
): Contender {
  return {
    name,
    url,
    headers: { 'content-type': 'application/json', ...headers },
    cpuSeconds: () => cpuSecondsOf(child.pid ?? 0),
    stop: async () => {
      const exit = once(child, 'exit');
      child.kill('SIGTERM');
      await exit;
      await cleanUp();
    },
  };
}

/** From the kernel's own accounting; the clock tick is 10 ms on every Linux that Node runs on. */
export async function cpuSecondsOf(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}
