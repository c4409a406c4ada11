/** Readers of git's machine formats, all of them with `-z`: names may hold anything but NUL. No I/O. */

export interface ListedWorktree {
  path: string;
  bare: boolean;
  /** Null on an unborn branch. */
  head: string | null;
  /** Without `refs/heads/`; null when detached or bare. */
  branch: string | null;
  detached: boolean;
  locked: boolean;
  /** Its directory is gone and git would forget it. */
  prunable: boolean;
}

/** `git worktree list --porcelain -z`: lines end in NUL, and an empty one ends a worktree. The first is the main one. */
export function readWorktreeList(text: string): ListedWorktree[] {
  return text
    .split('\0\0')
    .map((block) => block.split('\0').filter((line) => line !== ''))
    .filter((lines) => lines.length > 0)
    .map((lines) => {
      const fields = new Map(lines.map((line) => splitOnce(line, ' ')));
      const head = fields.get('HEAD') ?? null;
      return {
        path: fields.get('worktree') ?? '',
        bare: fields.has('bare'),
        head: head === null || /^0+$/.test(head) ? null : head,
        branch: fields.get('branch')?.replace(/^refs\/heads\//, '') ?? null,
        detached: fields.has('detached'),
        locked: fields.has('locked'),
        prunable: fields.has('prunable'),
      };
    });
}

function splitOnce(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
}

export interface Status {
  /** Null on an unborn branch. */
  head: string | null;
  /** `(detached)` as null. */
  branch: string | null;
  entries: { path: string; kind: 'changed' | 'unmerged' | 'untracked' }[];
}

/** `git status --porcelain=v2 --branch -z`: a rename has a second path, of which nothing else is told apart. */
export function readStatus(text: string): Status {
  const status: Status = { head: null, branch: null, entries: [] };
  const fields = text.split('\0');
  for (let at = 0; at < fields.length; at += 1) {
    const field = fields[at] ?? '';
    if (field.startsWith('# branch.oid ')) status.head = noneAs(field.slice(13), '(initial)');
    else if (field.startsWith('# branch.head ')) status.branch = noneAs(field.slice(14), '(detached)');
    else if (field.startsWith('1 ')) status.entries.push({ path: afterSpaces(field, 8), kind: 'changed' });
    else if (field.startsWith('2 ')) {
      status.entries.push({ path: afterSpaces(field, 9), kind: 'changed' });
      at += 1;
    } else if (field.startsWith('u ')) status.entries.push({ path: afterSpaces(field, 10), kind: 'unmerged' });
    else if (field.startsWith('? ')) status.entries.push({ path: field.slice(2), kind: 'untracked' });
  }
  return status;
}

function noneAs(value: string, none: string): string | null {
  return value === none ? null : value;
}

/** What follows the given number of spaces; the last field is a path, which may hold spaces itself. */
function afterSpaces(text: string, count: number): string {
  let at = -1;
  for (let seen = 0; seen < count; seen += 1) at = text.indexOf(' ', at + 1);
  return text.slice(at + 1);
}

export interface DiffFile {
  path: string;
  previousPath: string | null;
  change: 'A' | 'M' | 'D' | 'R' | 'U';
  /** Null for a binary file. */
  additions: number | null;
  deletions: number | null;
}

/**
 * `git diff --raw --numstat -z`: first a raw record a file (`:modes hashes status NUL path`), then its counts
 * (`added TAB removed TAB path`). A rename has both paths: two fields in the first half, and in the second an empty path
 * with two fields behind it.
 */
export function readDiff(text: string): DiffFile[] {
  const fields = text.split('\0').values();
  const next = () => fields.next().value ?? '';
  const files = new Map<string, DiffFile>();
  for (const field of fields) {
    const file = field.startsWith(':') ? readRawRecord(field, next) : null;
    if (file !== null) files.set(file.path, file);
    else countLines(field, next, files);
  }
  return [...files.values()];
}

function readRawRecord(record: string, next: () => string): DiffFile {
  const letter = record.slice(record.lastIndexOf(' ') + 1)[0] ?? 'M';
  const first = next();
  const path = letter === 'R' || letter === 'C' ? next() : first;
  const previousPath = letter === 'R' ? first : null;
  return { path, previousPath, change: changes[letter] ?? 'M', additions: null, deletions: null };
}

function countLines(record: string, next: () => string, files: ReadonlyMap<string, DiffFile>): void {
  const counts = /^(\d+|-)\t(\d+|-)\t(.*)$/s.exec(record);
  if (counts === null) return;
  const [, added, removed, inline = ''] = counts;
  let path = inline;
  if (inline === '') {
    next();
    path = next();
  }
  const file = files.get(path);
  if (file === undefined) return;
  file.additions = added === '-' ? null : Number(added);
  file.deletions = removed === '-' ? null : Number(removed);
}

const changes: Readonly<Record<string, DiffFile['change']>> = {
  A: 'A',
  C: 'A',
  D: 'D',
  R: 'R',
  U: 'U',
  T: 'M',
  M: 'M',
};
