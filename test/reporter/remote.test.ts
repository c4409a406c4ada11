import { describe, expect, test } from 'vitest';
import { chooseRemote } from '../../src/reporter/remote.ts';

const config = (...entries: [string, string][]) => entries.map(([key, value]) => `${key}\n${value}\0`).join('');
const origin = (url: string) => chooseRemote(config(['remote.origin.url', url]))?.url;

describe('the remote that names a project', () => {
  test.each([
    ['https://user:pa@ss@example.com/o/r.git', 'https://example.com/o/r.git'],
    ['https://token@example.com/o/r', 'https://example.com/o/r'],
    ['https://example.com/o/@r.git', 'https://example.com/o/@r.git'],
    ['https://example.com/o/r.git?private_token=secret', 'https://example.com/o/r.git'],
    ['ssh://git:pa@ss@example.com/o/r.git', 'ssh://git@example.com/o/r.git'],
    ['git@example.com:o/r.git', 'git@example.com:o/r.git'],
    ['git@[::1]:o/r.git', 'git@[::1]:o/r.git'],
    ['../elsewhere', null],
    ['C:/elsewhere', null],
    ['ext::sh -c anything', null],
    ['codecommit::eu-west-1://r', null],
  ])('%s is %s', (url, expected) => {
    expect(origin(url)).toBe(expected);
  });

  test('is origin, else the first by name, and none where there is none', () => {
    const two: [string, string][] = [
      ['remote.zeta.url', 'git@example.com:z/r'],
      ['remote.alpha.url', 'git@example.com:a/r'],
    ];
    expect(chooseRemote(config(...two))?.name).toBe('alpha');
    expect(chooseRemote(config(...two, ['remote.origin.url', 'git@example.com:o/r']))?.name).toBe('origin');
    expect(chooseRemote('')).toBeNull();
    expect(chooseRemote('remote.origin.url\0')).toBeNull();
  });

  test("is what git's insteadOf makes of it, the longest first, without the credentials that this brings", () => {
    const rewritten = chooseRemote(
      config(
        ['url.https://token:secret@github.com/.insteadof', 'gh:'],
        ['url.git@work.example.com:.insteadof', 'gh:work/'],
        ['remote.origin.url', 'gh:o/r.git'],
        ['remote.work.url', 'gh:work/r.git'],
      ),
    );
    expect(rewritten?.url).toBe('https://github.com/o/r.git');
    const longest = chooseRemote(
      config(
        ['url.https://github.com/.insteadof', 'gh:'],
        ['url.git@work.example.com:.insteadof', 'gh:work/'],
        ['remote.origin.url', 'gh:work/r.git'],
      ),
    );
    expect(longest?.url).toBe('git@work.example.com:r.git');
  });
});
