import type { TestGateway } from './gateway.ts';
import { value } from './sql.ts';

/** Somebody who asks: a principal with a token. */
export interface Person {
  /** Of the API. */
  id: string;
  uuid: string;
  handle: string;
  token: string;
  tokenId: string;
}

type Asking = Pick<TestGateway, 'ask'>;

/** @param scopes as in the API: of the principal, and of its token */
export async function makePerson(
  gateway: Asking,
  handle: string,
  scopes: readonly string[] = ['REGISTRY_READ', 'CHAT'],
  kind = 'USER',
): Promise<Person> {
  const { createPrincipal } = await gateway.ask<{ createPrincipal: { principal: { id: string; uuid: string } } }>(
    'mutation ($i: CreatePrincipalInput!) { createPrincipal(input: $i) { principal { id uuid } } }',
    { i: { kind, handle, scopes } },
  );
  const { principal } = createPrincipal;
  const { createToken } = await gateway.ask<{ createToken: { token: string; record: { id: string } } }>(
    'mutation ($i: CreateTokenInput!) { createToken(input: $i) { token record { id } } }',
    { i: { principal: principal.id, name: 'test', scopes } },
  );
  return { ...principal, handle, token: createToken.token, tokenId: createToken.record.id };
}

/** A project that somebody owns; its slug is its name. */
export async function makeProject(
  { database }: Pick<TestGateway, 'database'>,
  slug: string,
  owner: Pick<Person, 'uuid'> | null,
): Promise<string> {
  return value<string>(
    database.owner,
    'insert into registry.projects (slug, name, owner_id) values ($1, $1, $2) returning id',
    [slug, owner?.uuid ?? null],
  );
}

/** @param role null: a member no longer */
export async function setMember(
  { database }: Pick<TestGateway, 'database'>,
  projectId: string,
  person: Pick<Person, 'uuid'>,
  role: 'owner' | 'editor' | 'viewer' | null,
): Promise<void> {
  await database.owner.query('select registry.set_project_member($1, $2, $3)', [projectId, person.uuid, role]);
}
