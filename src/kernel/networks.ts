import { BlockList, isIP } from 'node:net';
import { StartupError } from './errors.ts';

/** Networks of both families, and single addresses. */
export interface Networks {
  /** An IPv4 address that is written as IPv6 (`::ffff:10.0.0.1`) counts as the IPv4 address that it leads to, and only as that. */
  has(address: string): boolean;
}

type Family = 'ipv4' | 'ipv6';

interface Network {
  address: string;
  family: Family;
  /** Leading bits; what the address has behind them does not matter. */
  prefix: number;
}

const bits = { ipv4: 32, ipv6: 128 };
const mapped = new BlockList();
mapped.addSubnet('::ffff:0:0', 96, 'ipv6');

/**
 * Finds the first text that is neither a network (`10.0.0.0/8`, `fd00::/8`) nor an address.
 * @returns what was expected and what came; null: all can be used
 */
export function findBadNetwork(texts: readonly string[]): string | null {
  for (const text of texts) {
    const network = parseNetwork(text);
    if (typeof network === 'string') return network;
  }
  return null;
}

/** @throws StartupError for what `findBadNetwork` finds */
export function parseNetworks(texts: readonly string[]): Networks {
  // Two lists: in one, a wide IPv6 network such as ::/3 would have every IPv4 address too.
  const lists = { ipv4: new BlockList(), ipv6: new BlockList() };
  for (const text of texts) {
    const network = parseNetwork(text);
    if (typeof network === 'string') throw new StartupError(network);
    lists[network.family].addSubnet(network.address, network.prefix, network.family);
  }
  return {
    has(address) {
      const family = familyOf(address);
      if (family === null) return false;
      if (family === 'ipv4' || mapped.check(address, 'ipv6')) return lists.ipv4.check(address, family);
      return lists.ipv6.check(address, 'ipv6');
    },
  };
}

function parseNetwork(text: string): Network | string {
  const [address = '', prefix, ...rest] = text.split('/');
  const family = familyOf(address);
  const expected = `Expected a network such as 10.0.0.0/8 or fd00::/8, or a single address, got ${JSON.stringify(text)}`;
  if (family === null || rest.length > 0) return `${expected}.`;
  if (address.includes('%')) return `${expected}: leave out the zone, which no network has.`;
  if (family === 'ipv6' && mapped.check(address, 'ipv6')) return `${expected}: write an IPv4 network as IPv4.`;
  if (prefix === undefined) return { address, family, prefix: bits[family] };
  if (!/^\d{1,3}$/.test(prefix) || Number(prefix) > bits[family]) {
    return `${expected}: behind the slash stands a number from 0 to ${bits[family]}.`;
  }
  return { address, family, prefix: Number(prefix) };
}

function familyOf(address: string): Family | null {
  const version = isIP(address);
  if (version === 0) return null;
  return version === 4 ? 'ipv4' : 'ipv6';
}
