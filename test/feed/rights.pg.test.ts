import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import { value } from '../support/sql.ts';
import { untilMetric, watch } from '../support/watch.ts';

/** Rights that are taken away end what was opened with them, on every gateway and every transport. */
describe('a stream ends with the right to it', () => {
  let here: TestGateway;
  let there: TestGateway;
  beforeAll(async () => {
    here = await startGateway();
    there = await startGateway({ database: here.database });
  });
  afterAll(async () => {
    await there.close();
    await here.close();
  });
  const document = 'subscription { worktreeChanged { change } }';

  let made = 0;
  async function somebody(): Promise<{ principal: string; token: string; tokenId: string }> {
    made += 1;
    const { createPrincipal } = await here.ask<{ createPrincipal: { principal: { id: string } } }>(
      'mutation ($handle: String!) { createPrincipal(input: { kind: USER, handle: $handle, scopes: [REGISTRY_READ] }) { principal { id } } }',
      { handle: `somebody-${made}` },
    );
    const principal = createPrincipal.principal.id;
    const { createToken } = await here.ask<{ createToken: { token: string; record: { id: string } } }>(
      'mutation ($id: ID) { createToken(input: { principal: $id, name: "t", scopes: [REGISTRY_READ] }) { token record { id } } }',
      { id: principal },
    );
    return { principal, token: createToken.token, tokenId: createToken.record.id };
  }

  test.each([
    [
      'the token is revoked',
      'mutation ($token: ID!) { revokeToken(input: { token: $token }) { userErrors { code } } }',
    ],
    [
      'the principal is disabled',
      'mutation ($principal: ID!) { disablePrincipal(input: { principal: $principal }) { userErrors { code } } }',
    ],
    [
      'the principal loses a scope',
      'mutation ($principal: ID!) { updatePrincipal(input: { principal: $principal, scopes: [] }) { userErrors { code } } }',
    ],
  ])('when %s: 4403, also on the other gateway', async (_name, mutation) => {
    const { principal, token, tokenId } = await somebody();
    const watching = await Promise.all([watch(here, document, {}, token), watch(there, document, {}, token)]);
    const bystander = await watch(here, document);
    await here.ask(mutation, mutation.includes('$token') ? { token: tokenId } : { principal });
    for (const { socket } of watching) expect(await socket.closed).toMatchObject({ code: 4403 });
    await bystander.close();
  });

  test('when it is done in plain SQL', async () => {
    const { token } = await somebody();
    const watching = await watch(there, document, {}, token);
    await here.database.owner.query(
      `update auth.tokens set revoked_at = now() where principal_id = (select id from auth.principals where handle = $1)`,
      [`somebody-${made}`],
    );
    expect(await watching.socket.closed).toMatchObject({ code: 4403 });
  });

  test('server-sent events too', async () => {
    const { token, tokenId } = await somebody();
    const response = await fetch(`${there.url}/graphql`, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        accept: 'text/event-stream',
        authorization: `Bearer ${token}`,
      },
      body: JSON.stringify({ query: document }),
    });
    await untilMetric(there, 'treeline_subscribers', (count) => count === 1);
    await here.ask('mutation ($token: ID!) { revokeToken(input: { token: $token }) { userErrors { code } } }', {
      token: tokenId,
    });
    await expect(response.text()).rejects.toThrow();
    await untilMetric(there, 'treeline_subscribers', (count) => count === 0);
  });

  test('a request that was let in and sends what it wants only after the revocation gets nothing', async () => {
    const { token, tokenId } = await somebody();
    const body = JSON.stringify({ query: document });
    const { hostname, port } = new URL(here.url);
    const pending = request({
      hostname,
      port,
      path: '/graphql',
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        accept: 'text/event-stream',
        authorization: `Bearer ${token}`,
        'content-length': Buffer.byteLength(body),
      },
    });
    const answered = once(pending, 'response') as Promise<[IncomingMessage]>;
    pending.write(body.slice(0, 5));
    await untilUsed(tokenId);
    await here.ask('mutation ($token: ID!) { revokeToken(input: { token: $token }) { userErrors { code } } }', {
      token: tokenId,
    });
    // The gateway has heard of it once it has ended another stream for the same reason.
    const other = await somebody();
    const watching = await watch(here, document, {}, other.token);
    await here.ask('mutation ($token: ID!) { revokeToken(input: { token: $token }) { userErrors { code } } }', {
      token: other.tokenId,
    });
    await watching.socket.closed;
    pending.end(body.slice(5));
    const [response] = await answered;
    let text = '';
    for await (const chunk of response) text += chunk;
    expect(text).toContain('UNAUTHENTICATED');
  });

  /** Until a token was looked up: a request with it has been let in. */
  async function untilUsed(tokenId: string): Promise<void> {
    const key = Buffer.from(tokenId, 'base64url').toString().split(':')[1];
    while (
      (await value(here.database.owner, 'select last_used_at is null from auth.tokens where id = $1', [key])) === true
    );
  }

  test('a token that is used or made ends nothing', async () => {
    const { token } = await somebody();
    const watching = await watch<{ change: string }>(here, document, {}, token);
    await here.ask('{ viewer { scopes } }', {}, { token });
    await here.database.owner.query('update auth.tokens set last_used_at = now()');
    await here.ask('mutation { createToken(input: { name: "another", scopes: [] }) { userErrors { code } } }');
    await value(
      here.database.owner,
      `select registry.register_worktree(registry.register_project('rights', null), 'feat', 'w', 'feat/w', '/rights')`,
    );
    expect(await watching.next()).toEqual({ change: 'CREATED' });
    await watching.close();
  });
});
