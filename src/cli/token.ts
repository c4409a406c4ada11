import type { Client } from '../client/client.ts';
import { graphql } from '../client/generated/gql.ts';
import type { Scope } from '../client/generated/graphql.ts';
import { StartupError } from '../kernel/errors.ts';
import { table } from './table.ts';

const listDocument = graphql(`
  query Tokens {
    viewer {
      principal { handle }
      tokens { id name scopes createdAt expiresAt lastUsedAt revokedAt }
    }
  }
`);

const createDocument = graphql(`
  mutation CreateToken($input: CreateTokenInput!) {
    createToken(input: $input) {
      token
      record { id name scopes expiresAt }
      userErrors { code message }
    }
  }
`);

const revokeDocument = graphql(`
  mutation RevokeToken($input: RevokeTokenInput!) {
    revokeToken(input: $input) {
      token { name revokedAt }
      userErrors { code message }
    }
  }
`);

const scopes: readonly Scope[] = [
  'REGISTRY_READ',
  'REGISTRY_WRITE',
  'CHAT',
  'SYNC',
  'TRIGGERS_ADMIN',
  'MAINTENANCE',
  'ADMIN',
];

/** `registry:read,registry:write`, in either spelling. */
export function readScopes(text: string): Scope[] {
  return text.split(',').map((part) => {
    const wanted = part.trim().toUpperCase().replace(/[:-]/g, '_');
    const scope = scopes.find((known) => known === wanted);
    if (scope === undefined) {
      const known = scopes.map((name) => name.toLowerCase()).join(', ');
      throw new StartupError(`Expected scopes out of ${known}, got ${JSON.stringify(part)}.`);
    }
    return scope;
  });
}

export async function tokenTable(client: Client): Promise<string> {
  const { viewer } = await client.request(listDocument);
  return table(
    ['ID', 'NAME', 'SCOPES', 'CREATED', 'LAST USED', 'EXPIRES', 'REVOKED'],
    viewer.tokens.map((token) => [
      token.id,
      token.name,
      token.scopes.join(',').toLowerCase(),
      token.createdAt,
      token.lastUsedAt ?? 'never',
      token.expiresAt ?? 'never',
      token.revokedAt ?? '',
    ]),
  );
}

/** @returns the new token, which is shown this one time */
export async function createToken(
  client: Client,
  input: { name: string; scopes: Scope[]; expiresAt: string | null },
): Promise<string> {
  const { createToken: outcome } = await client.request(createDocument, { input });
  refuse(outcome.userErrors);
  return outcome.token ?? '';
}

export async function revokeToken(client: Client, id: string): Promise<string> {
  const { revokeToken: outcome } = await client.request(revokeDocument, { input: { token: id } });
  refuse(outcome.userErrors);
  return `The token ${JSON.stringify(outcome.token?.name)} is revoked.`;
}

function refuse(userErrors: readonly { code: string; message: string }[]): void {
  const [error] = userErrors;
  if (error !== undefined) throw new StartupError(`${error.code}: ${error.message}`);
}
