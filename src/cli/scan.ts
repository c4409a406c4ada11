import { type ScannedRepository, type ScanResult, scan } from '../reporter/scan.ts';
import type { Gateway } from './gateway.ts';
import { printable, table } from './table.ts';

/** A line that rewrites itself while the scan runs; nothing where standard error is no terminal. */
function progressLine(stream: NodeJS.WriteStream) {
  if (!stream.isTTY) return { show: () => {}, clear: () => {} };
  return {
    show: (text: string) => void stream.write(`\r\u001b[K${text}`),
    clear: () => void stream.write('\r\u001b[K'),
  };
}

export async function runScan(
  gateway: Gateway,
  directories: readonly string[],
  options: { host: string; signal?: AbortSignal },
): Promise<ScanResult> {
  const line = progressLine(process.stderr);
  try {
    return await scan(gateway.client, directories, {
      ...options,
      onProgress: ({ found, done }) => line.show(`${done} of ${found} repositories`),
    });
  } finally {
    line.clear();
  }
}

export function failed(repository: ScannedRepository): boolean {
  return repository.error !== null || repository.failures.length > 0 || (repository.refusals ?? []).length > 0;
}

export function scanSummary({ repositories, vanished }: ScanResult, seconds: number): string {
  if (repositories.length === 0 && vanished.length === 0) return 'No git repositories were found there.';
  const rows = [...repositories]
    .sort((a, b) => a.path.localeCompare(b.path))
    .map((r) => [r.slug ?? r.name, r.worktrees ?? 0, r.inFlight ?? 0, failed(r) ? 'see below' : 'ok', r.path]);
  const sum = (of: (repository: ScannedRepository) => number | undefined) =>
    repositories.reduce((total, repository) => total + (of(repository) ?? 0), 0);
  const problems = repositories.flatMap(problemsOf);
  return [
    table(['PROJECT', 'WORKTREES', 'IN FLIGHT', 'REPORT', 'PATH'], rows),
    '',
    `${counted(repositories.length, 'repository', 'repositories')}, ${counted(
      sum((r) => r.worktrees),
      'worktree',
      'worktrees',
    )}, ${sum((r) => r.inFlight)} in flight, ${seconds.toFixed(1)} s`,
    ...vanished.map((path) => `Gone: ${printable(path)}`),
    ...(problems.length === 0 ? [] : ['', 'Not everything was reported:', ...problems]),
  ].join('\n');
}

function counted(count: number, one: string, many: string): string {
  return `${count} ${count === 1 ? one : many}`;
}

function problemsOf(repository: ScannedRepository): string[] {
  return [
    ...(repository.error === null ? [] : [`${repository.path}: ${repository.error}`]),
    ...repository.failures.map(({ path, reason }) => `${path}: ${reason}`),
    ...(repository.refusals ?? []).map(({ path, code, message }) => `${path ?? repository.path}: ${code}: ${message}`),
  ].map((text) => `  ${printable(text)}`);
}
