import { createHash, randomBytes } from 'node:crypto';
import type { Scope } from '../scopes.ts';

/** A token's record. The token itself is shown once, when it is made, and kept nowhere. */
export interface TokenRow {
  id: string;
  principal_id: string;
  name: string;
  scopes: Scope[];
  created_at: string;
  expires_at: string | null;
  last_used_at: string | null;
  revoked_at: string | null;
}

const prefix = 'tl_';

/** @returns `tl_` and 32 random bytes in base64url */
export function makeToken(): string {
  return prefix + randomBytes(32).toString('base64url');
}

/** Whether the text has a token's form; anything else is not worth a look into the database. */
export function isToken(text: string): boolean {
  return /^tl_[A-Za-z0-9_-]{43}$/.test(text);
}

/** SHA-256. No salt and no slow hash: 32 random bytes cannot be guessed. */
export function hashToken(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}
