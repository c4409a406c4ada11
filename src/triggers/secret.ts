import { randomBytes } from 'node:crypto';

/** How requests of a route are signed, where they are. */
export type SignatureScheme = 'standard' | 'github';

const prefix = 'whsec_';
const fewestBytes = 24;
const mostBytes = 64;

/** A new secret of Standard Webhooks: `whsec_` and 32 random bytes in base64. */
export function makeSecret(): string {
  return prefix + randomBytes(32).toString('base64');
}

/**
 * @returns what a secret of the scheme looks like, when this is none: it says nothing of what came; null: it can be used
 */
export function checkSecret(secret: string, signature: SignatureScheme): string | null {
  if (signature === 'github') {
    // As code points, and with marks and symbols: GitHub takes any text.
    return /^[^\p{Cc}\p{Cs}]{16,500}$/u.test(secret)
      ? null
      : 'Expected a secret of 16 to 500 printable characters, as it is set at GitHub.';
  }
  const text = secret.startsWith(prefix) ? secret.slice(prefix.length) : '';
  const bytes = Buffer.from(text, 'base64');
  // Buffer reads what is no base64 as far as it can; the libraries of receivers do not.
  const isBase64 = bytes.toString('base64') === text;
  return isBase64 && bytes.length >= fewestBytes && bytes.length <= mostBytes
    ? null
    : `Expected a secret of ${prefix} and ${fewestBytes} to ${mostBytes} bytes in base64: leave it out to have one made.`;
}
