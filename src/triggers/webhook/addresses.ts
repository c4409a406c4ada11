import { isIP } from 'node:net';
import { type Networks, parseNetworks } from '../../kernel/networks.ts';

/** Which addresses webhooks may connect to. */
export interface AddressRule {
  /**
   * @param encrypted whether TLS is spoken there: in clear text one speaks only to what an operator allows
   * @returns why not, as a sentence for the registrant; null: it may
   */
  mayConnect(address: string, how: { encrypted: boolean }): string | null;
}

/**
 * Whoever registers a webhook chooses where the gateway connects to, and the gateway stands where its operator's other
 * servers are: so it may go to public addresses only, and only over TLS. Everything that is not plainly public is refused,
 * tunnels that lead to IPv4 included; what an operator allows goes before all this.
 * @param allow networks that may be reached although private, and in clear text
 * @throws StartupError for what is no network
 */
export function createAddressRule(allow: readonly string[]): AddressRule {
  const allowed = parseNetworks(allow);
  return {
    mayConnect(address, { encrypted }) {
      if (allowed.has(address)) return null;
      const kind = kindOf(address);
      if (kind !== null) {
        return `Expected a public address, got ${address} (${kind}): an operator may allow its network in TREELINE_WEBHOOK_ALLOW.`;
      }
      if (!encrypted) {
        return `Expected https, got http to the public address ${address}: use https, or let an operator allow its network in TREELINE_WEBHOOK_ALLOW.`;
      }
      return null;
    },
  };
}

/**
 * From the registries of special-purpose addresses (IANA), and what clouds answer at: of their metadata services, AWS's is
 * link-local or unique local, Google's the same, Alibaba's shared, Oracle's a protocol assignment. The first that has an
 * address names it.
 */
const special: readonly (readonly [kind: string, networks: Networks])[] = Object.entries({
  unspecified: ['0.0.0.0', '::'],
  'this network': ['0.0.0.0/8'],
  loopback: ['127.0.0.0/8', '::1'],
  private: ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16'],
  'unique local': ['fc00::/7'],
  'link-local': ['169.254.0.0/16', 'fe80::/10'],
  'site-local': ['fec0::/10'],
  'shared by a carrier': ['100.64.0.0/10'],
  'metadata of a cloud': ['168.63.129.16'],
  documentation: ['192.0.2.0/24', '198.51.100.0/24', '203.0.113.0/24', '2001:db8::/32', '3fff::/20'],
  benchmarking: ['198.18.0.0/15', '2001:2::/48'],
  Teredo: ['2001::/32'],
  '6to4': ['2002::/16', '192.88.99.0/24'],
  NAT64: ['64:ff9b::/96', '64:ff9b:1::/48'],
  'assigned to protocols': ['192.0.0.0/24', '2001::/23'],
  multicast: ['224.0.0.0/4', 'ff00::/8'],
  reserved: ['240.0.0.0/4'],
}).map(([kind, networks]) => [kind, parseNetworks(networks)]);

/** All that is given out of IPv6; what is not in it, is for something else or will be. */
const globalUnicast = parseNetworks(['2000::/3']);

/** @returns null for a public address */
function kindOf(address: string): string | null {
  if (isIP(address) === 0) return 'no address';
  for (const [kind, networks] of special) {
    if (networks.has(address)) return kind;
  }
  if (address.includes(':') && !globalUnicast.has(address)) return 'not of the public part of IPv6';
  return null;
}
