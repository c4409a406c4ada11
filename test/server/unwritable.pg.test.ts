import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import { makeProject } from '../support/people.ts';
import { untilMetric, watch } from '../support/watch.ts';

let gateway: TestGateway;
let project: string;
beforeAll(async () => {
  gateway = await startGateway();
  project = await makeProject(gateway, 'deep', null);
});
afterAll(() => gateway.close());

/** Deeper than JSON.stringify goes; the API takes no such thing, SQL does. */
const nest = (name: string) =>
  gateway.database.owner.query('update registry.projects set name = $3, metadata = $2::jsonb where id = $1', [
    project,
    `{"deep":${'['.repeat(9_000)}${']'.repeat(9_000)}}`,
    name,
  ]);
const subscription = 'subscription { projectChanged { project { name metadata } } }';

describe('what cannot be written as JSON', () => {
  test('is an error of the query that asks for it', async () => {
    await nest('queried');
    const { status, errors } = await gateway.request(`{ project(by: { id: "${project}" }) { metadata } }`);
    expect([status, errors?.[0]?.extensions.code]).toEqual([200, 'LIMIT_EXCEEDED']);
  });

  test('is an error of the update, over WebSocket and server-sent events, and the gateway goes on', async () => {
    const watching = await watch(gateway, subscription);
    const response = await fetch(`${gateway.url}/graphql`, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        accept: 'text/event-stream',
        authorization: `Bearer ${gateway.token}`,
      },
      body: JSON.stringify({ query: subscription }),
    });
    await untilMetric(gateway, 'treeline_subscribers', (count) => count === 2);
    await nest('told');
    expect(await watching.failure()).toMatchObject({ extensions: { code: 'LIMIT_EXCEEDED' } });
    const reader = response.body?.getReader();
    let text = '';
    while (!text.includes('LIMIT_EXCEEDED')) {
      const { done, value } = (await reader?.read()) ?? { done: true, value: undefined };
      if (done) throw new Error(`the stream ended: ${text}`);
      text += new TextDecoder().decode(value);
    }
    await gateway.database.owner.query(`update registry.projects set name = 'flat', metadata = '{}' where id = $1`, [
      project,
    ]);
    expect(await watching.next()).toEqual({ project: { name: 'flat', metadata: {} } });
    await reader?.cancel();
    await watching.close();
  });
});
