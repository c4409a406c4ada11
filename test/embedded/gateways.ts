import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, readlink, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { end } from '../../src/embedded/processes.ts';

const program = fileURLToPath(new URL('./gateway-process.ts', import.meta.url));

export type Report = { started: true; ownerUrl: string; serverPid: number } | { started: false; refusal: string };

/** A gateway in a process of its own. */
export interface GatewayProcess {
  child: ChildProcess;
  /** Its first words: the server's facts, or why it refused to start. */
  report: Report;
}

/** Data directories and processes of one test; `clean` ends and removes all of them. */
export class Bench {
  readonly #folders: string[] = [];
  readonly #children: ChildProcess[] = [];

  /** A folder that every user may enter, as a checkout in a home folder usually is. */
  async folder(): Promise<string> {
    const folder = await mkdtemp(join(tmpdir(), 'treeline-embedded-'));
    await chmod(folder, 0o755);
    this.#folders.push(folder);
    return folder;
  }

  async gateway(dataDir: string, options: SpawnOptions = {}): Promise<GatewayProcess> {
    const child = spawn(process.execPath, [program, dataDir], { stdio: ['pipe', 'pipe', 'inherit'], ...options });
    this.#children.push(child);
    if (child.stdout === null) throw new Error('expected a standard output');
    for await (const line of createInterface({ input: child.stdout })) {
      return { child, report: JSON.parse(line) as Report };
    }
    throw new Error('the gateway ended without a word');
  }

  async clean(): Promise<void> {
    for (const child of this.#children) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      child.stdin?.end('stop\n');
      await once(child, 'exit');
    }
    for (const folder of this.#folders) {
      const elsewhere = await readlink(join(folder, 'private', '.treeline', 'postgres')).catch(() => null);
      if (elsewhere !== null) await rm(elsewhere, { recursive: true });
      await rm(folder, { recursive: true, force: true });
    }
  }
}

/** A gateway that started. */
export function started(gateway: GatewayProcess): Extract<Report, { started: true }> {
  if (!gateway.report.started) throw new Error(gateway.report.refusal);
  return gateway.report;
}

export async function kill(child: ChildProcess): Promise<void> {
  child.kill('SIGKILL');
  await once(child, 'exit');
}

/** Ends a process that is no child of ours, at once. */
export async function killPid(pid: number): Promise<void> {
  if (!(await end([pid], 'SIGKILL', 5_000))) throw new Error(`process ${pid} did not end`);
}

export async function query<Row extends pg.QueryResultRow>(url: string, text: string): Promise<Row[]> {
  const client = new pg.Client({ connectionString: url });
  // A server that is killed is what these tests are about: the query says so, and the socket says it once more.
  client.on('error', () => {});
  await client.connect();
  try {
    return (await client.query<Row>(text)).rows;
  } finally {
    await client.end();
  }
}
