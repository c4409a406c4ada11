import { describe, expect, test } from 'vitest';
import { createAddressRule } from '../../../src/triggers/webhook/addresses.ts';

const overTls = { encrypted: true };
const inClearText = { encrypted: false };

/** The first and the last address of each, and what else is worth a line. */
const notPublic = {
  unspecified: ['0.0.0.0', '::'],
  'this network': ['0.0.0.1', '0.255.255.255'],
  loopback: ['127.0.0.1', '127.255.255.255', '::1', '::ffff:127.0.0.1', '::ffff:7f00:1'],
  private: ['10.0.0.0', '10.255.255.255', '172.16.0.0', '172.31.255.255', '192.168.0.0', '192.168.255.255'],
  'link-local': ['169.254.0.0', '169.254.169.254', 'fe80::', 'febf:ffff::1', 'fe80::1%eth0', '::ffff:169.254.169.254'],
  'site-local': ['fec0::1'],
  'unique local': ['fc00::', 'fdff:ffff::', 'fd00:ec2::254'],
  'shared by a carrier': ['100.64.0.0', '100.127.255.255', '100.100.100.200'],
  'metadata of a cloud': ['168.63.129.16'],
  documentation: ['192.0.2.1', '198.51.100.1', '203.0.113.1', '2001:db8::1', '3fff::1'],
  benchmarking: ['198.18.0.0', '198.19.255.255', '2001:2::1'],
  Teredo: ['2001::1'],
  '6to4': ['2002:7f00:1::1', '192.88.99.1'],
  NAT64: ['64:ff9b::7f00:1', '64:ff9b::8.8.8.8', '64:ff9b:1::1'],
  'assigned to protocols': ['192.0.0.192', '2001:1ff::1', '2001:20::1'],
  multicast: ['224.0.0.0', '239.255.255.255', 'ff02::1'],
  reserved: ['240.0.0.0', '255.255.255.255'],
  'not of the public part of IPv6': [
    '::7f00:1',
    '::ffff:8.8.8.8',
    '100::1',
    '4000::1',
    '1fff:ffff::',
    '5f00::1',
    'fe00::1',
  ],
  'no address': ['', 'localhost', '127.1', '2130706433', '0x7f.0.0.1', '127.0.0.1.', '[::1]', 'undefined'],
};
const cases = Object.entries(notPublic).flatMap(([kind, addresses]) => addresses.map((address) => ({ address, kind })));
const everyday = ['1.1.1.1', '93.184.216.34', '11.0.0.0', '100.63.255.255', '100.128.0.0', '172.15.255.255'];
const publicAddresses = [
  ...everyday,
  '172.32.0.0',
  '169.253.255.255',
  '223.255.255.255',
  '2606:4700::1111',
  '2001:200::1',
];

describe('by itself, a webhook', () => {
  const rule = createAddressRule([]);

  test.each(cases)('may not connect to $address: $kind', ({ address, kind }) => {
    for (const how of [overTls, inClearText]) {
      const reason = rule.mayConnect(address, how);
      expect(reason).toContain(`got ${address} (${kind})`);
      expect(reason).toContain('TREELINE_WEBHOOK_ALLOW');
    }
  });

  test.each(publicAddresses)('may connect to %s, over TLS only', (address) => {
    expect(rule.mayConnect(address, overTls)).toBeNull();
    expect(rule.mayConnect(address, inClearText)).toContain('Expected https');
  });
});

describe('with networks that an operator allows, a webhook', () => {
  const rule = createAddressRule(['10.1.0.0/16', '192.0.2.7', 'fd00:1::/32', '1.1.1.1', '0.0.0.0']);

  test.each(['10.1.2.3', '::ffff:10.1.2.3', '192.0.2.7', 'fd00:1::5', '1.1.1.1', '0.0.0.0'])(
    'may connect to %s, in clear text too',
    (address) => {
      expect(rule.mayConnect(address, overTls)).toBeNull();
      expect(rule.mayConnect(address, inClearText)).toBeNull();
    },
  );

  test.each(['10.2.0.0', '192.0.2.8', 'fd00:2::1', '127.0.0.1', '::', '::ffff:0:10.1.2.3', '64:ff9b::10.1.2.3'])(
    'may still not connect to %s',
    (address) => {
      expect(rule.mayConnect(address, overTls)).not.toBeNull();
    },
  );

  test('may not connect to IPv4 within IPv6 because all of IPv6 is allowed', () => {
    const all = createAddressRule(['::/0']);
    expect(all.mayConnect('::1', inClearText)).toBeNull();
    expect(all.mayConnect('::ffff:127.0.0.1', overTls)).toContain('loopback');
    expect(all.mayConnect('127.0.0.1', overTls)).toContain('loopback');
  });
});
