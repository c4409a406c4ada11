import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { StartupError } from '../../src/kernel/errors.ts';
import { findBadNetwork, parseNetworks } from '../../src/kernel/networks.ts';
import { size } from '../support/size.ts';

describe('a list of networks', () => {
  test.each([
    ['10.0.0.0/8', '10.255.255.255', true],
    ['10.0.0.0/8', '11.0.0.0', false],
    ['10.9.9.9/8', '10.0.0.1', true],
    ['192.0.2.7', '192.0.2.7', true],
    ['192.0.2.7', '192.0.2.8', false],
    ['0.0.0.0/0', '203.0.113.9', true],
    ['0.0.0.0/0', '::1', false],
    ['fd00::/8', 'fdff::1', true],
    ['fd00::/8', 'fe00::1', false],
    ['fe80::/10', 'fe80::1%eth0', true],
    ['::1', '0:0:0:0:0:0:0:1', true],
    ['10.0.0.0/8', '::ffff:10.0.0.1', true],
    ['10.0.0.0/8', '::ffff:a00:1', true],
    ['10.0.0.0/8', '::10.0.0.1', false],
    ['::/0', '2001:db8::1', true],
    ['::/0', '10.0.0.1', false],
    ['::/0', '::ffff:10.0.0.1', false],
    ['10.0.0.0/8', 'localhost', false],
    ['10.0.0.0/8', '', false],
  ])('with %s, asked for %s, says %s', (network, address, has) => {
    expect(findBadNetwork([network])).toBeNull();
    expect(parseNetworks([network]).has(address)).toBe(has);
    expect(parseNetworks(['198.51.100.1', network, '2001:db8:f::/48']).has(address), 'among others').toBe(has);
  });

  test('without any has nothing', () => {
    expect(parseNetworks([]).has('10.0.0.1')).toBe(false);
  });

  test.each([
    '',
    'localhost',
    '10.0.0',
    '010.0.0.1',
    '10.0.0.0/33',
    '10.0.0.0/',
    '10.0.0.0/8/8',
    '10.0.0.0/-1',
    '10.0.0.0/ 8',
    '10.0.0.0/255.0.0.0',
    'fd00::/129',
    'fe80::1%eth0',
    '::ffff:10.0.0.0/104',
    '[::1]',
    '10.0.0.1:80',
  ])('does not take %j, and names it', (text) => {
    expect(findBadNetwork(['10.0.0.0/8', text])).toContain(`got ${JSON.stringify(text)}`);
    expect(() => parseNetworks(['10.0.0.0/8', text])).toThrow(StartupError);
  });

  const family = fc.constantFrom({ bits: 32, write: asIpv4 }, { bits: 128, write: asIpv6 });
  const address = (bits: number) => fc.bigInt({ min: 0n, max: (1n << BigInt(bits)) - 1n });
  const given = family.chain(({ bits, write }) =>
    // From the network's own address some bits are turned, so that about as many are in it as are not.
    fc.tuple(address(bits), fc.nat({ max: bits }), fc.nat({ max: bits })).map(([network, prefix, turned]) => {
      const other = turned === bits ? network : network ^ (1n << BigInt(turned));
      return {
        network: `${write(network)}/${prefix}`,
        other: write(other),
        isIn: turned === bits || turned < bits - prefix,
      };
    }),
  );

  test('compares exactly the leading bits', () => {
    fc.assert(
      fc.property(given, ({ network, other, isIn }) => {
        expect(parseNetworks([network]).has(other), `${other} in ${network}`).toBe(isIn);
      }),
      { numRuns: size(5_000) },
    );
  });
});

function asIpv4(address: bigint): string {
  return [24n, 16n, 8n, 0n].map((shift) => (address >> shift) & 0xffn).join('.');
}

function asIpv6(address: bigint): string {
  return [...Array(8).keys()].map((part) => ((address >> BigInt(112 - 16 * part)) & 0xffffn).toString(16)).join(':');
}
