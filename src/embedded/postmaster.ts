import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';
import type { Logger } from '../kernel/logger.ts';
import type { Binaries } from './binaries.ts';
import type { OsUser } from './os-user.ts';

/** A running server: one postmaster, child of this process. */
export interface Postmaster {
  port: number;
  pid: number;
  /** Resolves when the server has gone, asked or not. */
  gone: Promise<void>;
  /** A fast shutdown: connections end, data is written; harder if that takes too long. Any number of calls. */
  stop(): Promise<void>;
}

export interface PostmasterOptions {
  binaries: Binaries;
  user: OsUser;
  cluster: string;
  /** False: a power cut may destroy the cluster, and everything is faster. */
  durable: boolean;
  log: Logger;
}

const loopback = '127.0.0.1';
const attempts = 5;
const goodbyeMs = 300;
const fastShutdownMs = 10_000;
const immediateShutdownMs = 5_000;
const keptLines = 30;

/**
 * Starts the server on a free port and waits until it accepts connections (after a crash: until it has recovered).
 * Between finding a port free and taking it somebody else may take it, so that is tried again.
 */
export async function startPostmaster(options: PostmasterOptions): Promise<Postmaster> {
  for (let attempt = 1; ; attempt += 1) {
    const result = await launch(options, await freePort());
    if ('stop' in result) return result;
    const output = result.output.join('\n');
    if (attempt >= attempts || !/could not (bind|create any TCP\/IP sockets)/.test(output)) {
      throw new Error(`The embedded PostgreSQL did not start:\n${output}`);
    }
    options.log.debug({ attempt }, 'the port was taken meanwhile, trying another');
  }
}

async function launch(options: PostmasterOptions, port: number): Promise<Postmaster | { output: string[] }> {
  const child = spawn(options.binaries.postgres, ['-D', options.cluster, ...settings(options, port)], {
    ...options.user,
    cwd: '/',
    env: { LC_ALL: 'C', TZ: 'UTC' },
    stdio: ['ignore', 'ignore', 'pipe'],
    // A process group of its own: Ctrl-C in a terminal reaches every process of ours, and the gateway wants to finish
    // its requests before the server goes.
    detached: true,
  });
  const { output, ready } = follow(child, options.log);
  const gone = new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
    child.once('error', (error) => {
      output.push(error.message);
      resolve();
    });
  });
  await Promise.race([ready, gone]);
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return { output };
  return supervise(child, child.pid, port, gone);
}

function supervise(child: ChildProcess, pid: number, port: number, gone: Promise<void>): Postmaster {
  // If this process ends without stopping the server, the server must not stay; waiting is no longer possible then.
  const onExit = () => child.kill('SIGINT');
  process.once('exit', onExit);
  void gone.then(() => process.off('exit', onExit));
  let stopping: Promise<void> | undefined;
  return { port, pid, gone, stop: () => (stopping ??= stop(child, gone)) };
}

/**
 * Signals as PostgreSQL understands them: SIGTERM waits for connections to end, SIGINT ends them, SIGQUIT gives up (and
 * recovers at the next start). The first, because a pool says that it has ended while its connections are still saying
 * goodbye: to end them hard then is an error that nobody listens for any more.
 */
async function stop(child: ChildProcess, gone: Promise<void>): Promise<void> {
  const steps: readonly [NodeJS.Signals, number][] = [
    ['SIGTERM', goodbyeMs],
    ['SIGINT', fastShutdownMs],
    ['SIGQUIT', immediateShutdownMs],
  ];
  for (const [signal, withinMs] of steps) {
    child.kill(signal);
    if (await within(gone, withinMs)) return;
  }
  child.kill('SIGKILL');
  await gone;
}

async function within(event: Promise<void>, ms: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<false>((resolve) => {
    timer = setTimeout(resolve, ms, false);
  });
  const happened = await Promise.race([event.then(() => true as const), timeout]);
  clearTimeout(timer);
  return happened;
}

function settings({ binaries, durable }: PostmasterOptions, port: number): string[] {
  const values: Record<string, string | number> = {
    listen_addresses: loopback,
    port,
    // A socket file's path is limited to some 100 characters, and stale ones are one more thing to clean up.
    unix_socket_directories: '',
    max_connections: 100,
    shared_buffers: '128MB',
    max_wal_size: '256MB',
    timezone: 'UTC',
    log_timezone: 'UTC',
    // The server's own news; the errors of statements reach whoever sent them, and may hold what no log should.
    log_min_messages: 'log',
    log_min_error_statement: 'panic',
    ...(binaries.hasStatStatements ? { shared_preload_libraries: 'pg_stat_statements' } : {}),
    ...(durable
      ? {}
      : {
          fsync: 'off',
          full_page_writes: 'off',
          wal_level: 'minimal',
          max_wal_senders: 0,
          max_wal_size: '2GB',
          // For several test files at once, and some of them start several gateways.
          max_connections: 300,
        }),
  };
  return Object.entries(values).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
}

/** Logs what the server says, keeps the last lines for an error message, and notices when it is ready. */
function follow(child: ChildProcess, log: Logger): { output: string[]; ready: Promise<void> } {
  const output: string[] = [];
  const ready = new Promise<void>((resolve) => {
    if (child.stderr === null) return;
    // Lines, because a chunk may end in the middle of the words waited for.
    createInterface({ input: child.stderr }).on('line', (line) => {
      output.push(line);
      if (output.length > keptLines) output.shift();
      const grave = /\b(FATAL|PANIC):/.test(line);
      log[grave ? 'warn' : 'debug']({ postgres: line }, 'PostgreSQL');
      if (line.includes('database system is ready to accept connections')) resolve();
    });
  });
  return { output, ready };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, loopback);
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('the system gave no port');
  return address.port;
}
