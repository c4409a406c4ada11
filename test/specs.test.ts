import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

const root = fileURLToPath(new URL('../', import.meta.url));

describe.each(['src/feed/SPEC.md', 'src/triggers/SPEC.md'])('in %s', (file) => {
  const spec = readFileSync(`${root}${file}`, 'utf8');

  test('every promise names a test, and every test that is named is there', () => {
    const promises = spec.split(/^(?=\d+\. )/m).slice(1);
    expect(promises.map((text) => Number.parseInt(text, 10))).toEqual(promises.map((_, index) => index + 1));
    for (const promise of promises) expect(promise).toMatch(/`test\/[\w./-]+\.test\.ts`/);
    for (const [, path] of spec.matchAll(/`(test\/[\w./-]+)`/g))
      expect([path, existsSync(`${root}${path}`)]).toEqual([path, true]);
  });

  test('every title in quotes is one of a test', () => {
    const text = spec.replace(/\s+/g, ' ');
    for (const [, path, titles] of text.matchAll(/`(test\/[\w./-]+)`((?:(?:,| and) "[^"]+")+)/g)) {
      const code = readFileSync(`${root}${path}`, 'utf8');
      for (const [, title] of (titles ?? '').matchAll(/"([^"]+)"/g)) expect(code).toContain(title?.replace(/ …$/, ''));
    }
  });
});
