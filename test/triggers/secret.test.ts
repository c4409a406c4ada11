import { Webhook } from 'standardwebhooks';
import { describe, expect, test } from 'vitest';
import { checkSecret, makeSecret } from '../../src/triggers/secret.ts';

const ofBytes = (count: number) => `whsec_${Buffer.alloc(count, 7).toString('base64')}`;

describe('a secret', () => {
  test('that was made can be used, and is another one each time', () => {
    const secret = makeSecret();
    expect(checkSecret(secret, 'standard')).toBeNull();
    expect(checkSecret(secret, 'github')).toBeNull();
    expect(makeSecret()).not.toBe(secret);
  });

  test.each([24, 25, 26, 32, 64])('of %i bytes can be used, and the library does', (count) => {
    expect(checkSecret(ofBytes(count), 'standard')).toBeNull();
    expect(new Webhook(ofBytes(count)).sign('msg_1', new Date(), '{}')).toMatch(/^v1,/);
  });

  test.each([
    '',
    'whsec_',
    ofBytes(23),
    ofBytes(65),
    ofBytes(32).slice('whsec_'.length),
    `WHSEC_${ofBytes(32).slice('whsec_'.length)}`,
    `${ofBytes(32)}\n`,
    ` ${ofBytes(32)}`,
    ofBytes(25).replace(/=+$/, ''),
    'whsec_________________________________________',
    'whpk_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH',
  ])('such as %j is none of Standard Webhooks', (secret) => {
    const mistake = checkSecret(secret, 'standard');
    expect(mistake).toContain('24 to 64 bytes');
    if (secret.length > 10) expect(mistake).not.toContain(secret.trim());
  });

  test.each(['x'.repeat(16), 'x'.repeat(500), 'correct horse battery staple', 'Schlüssel für die Tür 🔑'])(
    'such as %j is one for GitHub',
    (secret) => {
      expect(checkSecret(secret, 'github')).toBeNull();
    },
  );

  test.each([
    '',
    'x'.repeat(15),
    'x'.repeat(501),
    `${'x'.repeat(20)}\n`,
    `${'x'.repeat(20)}\0`,
    `${'x'.repeat(20)}\ud800`,
  ])('such as %j is none for GitHub', (secret) => {
    expect(checkSecret(secret, 'github')).toContain('16 to 500');
  });
});
