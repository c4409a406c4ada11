import { tryGit } from './git.ts';

export interface Remote {
  name: string;
  /** Without credentials; null for one that names no repository of the fleet, such as a folder of this machine. */
  url: string | null;
}

/** `origin`, else the only remote, else the first by name; null when there is none. */
export async function readRemote(directory: string, signal?: AbortSignal): Promise<Remote | null> {
  const keys = String.raw`^(remote\..*\.url|url\..*\.insteadof)$`;
  const text = await tryGit(directory, ['config', '-z', '--get-regexp', keys], signal);
  return chooseRemote(text ?? '');
}

/**
 * Reads `git config -z --get-regexp`: entries end in NUL, a newline parts name and value. `insteadOf` is applied as git does,
 * so that a remote spelled by a private shorthand is the same project on every host.
 */
export function chooseRemote(config: string): Remote | null {
  const remotes: { name: string; url: string }[] = [];
  const rewrites: { from: string; to: string }[] = [];
  for (const entry of config.split('\0')) {
    const at = entry.indexOf('\n');
    // A name without a value is a boolean, and no address.
    if (at < 0) continue;
    const [key, value] = [entry.slice(0, at), entry.slice(at + 1)];
    if (key.startsWith('remote.')) remotes.push({ name: key.slice('remote.'.length, -'.url'.length), url: value });
    else rewrites.push({ from: value, to: key.slice('url.'.length, -'.insteadof'.length) });
  }
  remotes.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  const chosen = remotes.find(({ name }) => name === 'origin') ?? remotes[0];
  return chosen === undefined ? null : { name: chosen.name, url: asRemote(rewrite(chosen.url, rewrites)) };
}

function rewrite(url: string, rewrites: readonly { from: string; to: string }[]): string {
  const [longest] = rewrites
    .filter(({ from }) => from !== '' && url.startsWith(from))
    .sort((a, b) => b.from.length - a.from.length);
  return longest === undefined ? url : longest.to + url.slice(longest.from.length);
}

/**
 * The kinds of address that the gateway takes. Not `helper::address`, which makes git run a program. Passwords and tokens are
 * nobody else's business, so they go before anything is sent; up to the last `@`, which a password may hold too.
 */
function asRemote(url: string): string | null {
  if (/^(ssh|https?|git|file):\/\/./i.test(url)) {
    return url
      .replace(/^(https?:\/\/)[^/]*@/i, '$1')
      .replace(/^((?:ssh|git):\/\/[^/@:]*):[^/]*@/i, '$1@')
      .replace(/^(https?:[^?#]*)[?#].*$/is, '$1');
  }
  const isScpLike = /^(?:[^/:]{2,}|(?:[^/:@]+@)?\[[0-9a-f:.]+\]):(?!:)./i.test(url) && !url.includes('://');
  return isScpLike ? url : null;
}
