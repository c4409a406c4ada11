/** Where a JSON value cannot be stored, and why. */
export interface Unstorable {
  /** Keys and indexes from the value's root. */
  path: readonly string[];
  problem: string;
}

const deepest = 500;

/**
 * Finds what PostgreSQL's jsonb cannot hold, or would not give back as it came: U+0000, half of a surrogate pair, numbers
 * beyond those of JSON, nesting that its parser gives up on. PostgreSQL says only that there is such a thing, not where.
 */
export function findUnstorable(value: unknown): Unstorable | null {
  // A stack of our own: what is nested too deep would overflow the other one.
  const waiting: { value: unknown; path: Path | null; depth: number }[] = [{ value, path: null, depth: 1 }];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const { path, depth } = next;
    const problem = problemOf(next.value) ?? (depth > deepest ? `nests more than ${deepest} levels deep` : null);
    if (problem !== null) return { path: keysOf(path), problem };
    if (typeof next.value !== 'object' || next.value === null) continue;
    // Backwards, so that what comes first is found first.
    for (const [key, inner] of Object.entries(next.value).reverse()) {
      const problem = problemOf(key);
      if (problem !== null) return { path: keysOf(path), problem: `has a key that ${problem}` };
      waiting.push({ value: inner, path: { key, parent: path }, depth: depth + 1 });
    }
  }
  return null;
}

/** A text for people, with what cannot be stored in it replaced. */
export function toStorableText(text: string): string {
  return text.toWellFormed().replaceAll('\0', '\u{fffd}');
}

interface Path {
  key: string;
  parent: Path | null;
}

function keysOf(path: Path | null): string[] {
  const keys: string[] = [];
  for (let at = path; at !== null; at = at.parent) keys.unshift(at.key);
  return keys;
}

function problemOf(value: unknown): string | null {
  if (typeof value === 'string') {
    if (value.includes('\0')) return 'contains U+0000, which cannot be stored';
    if (!value.isWellFormed()) return 'contains half of a surrogate pair, which is no Unicode text';
  }
  if (typeof value === 'number' && !Number.isFinite(value)) return 'is a number larger than JSON readers can hold';
  return null;
}
