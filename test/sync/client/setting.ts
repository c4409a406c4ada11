import { afterAll, afterEach, beforeAll } from 'vitest';
import { createSyncClient, type SyncClient, type SyncClientOptions } from '../../../src/sync/client/client.ts';
import { memoryStorage } from '../../../src/sync/client/storage.ts';
import { startGateway, type TestGateway } from '../../support/gateway.ts';
import { makePerson, type Person } from '../../support/people.ts';
import { appId } from '../asking.ts';
import { type Line, openLine } from './line.ts';

/** A gateway of the test file's own, and a line to it that passes all unless it is told otherwise. */
export let gateway: TestGateway;
export let line: Line;
beforeAll(async () => {
  gateway = await startGateway();
  line = await openLine(gateway);
});
const opened: SyncClient[] = [];
afterEach(async () => {
  line.fail();
  await Promise.all(opened.splice(0).map((client) => client.close()));
});
afterAll(async () => {
  await line.close();
  await gateway.close();
});

let count = 0;

/** Somebody new, who has written nothing yet. */
export function person(): Promise<Person> {
  count += 1;
  return makePerson(gateway, `person-${count}`, ['REGISTRY_READ', 'SYNC']);
}

/** One of somebody's devices; a new one unless it is given a storage. Closed after the test. */
export async function device(
  { token }: Pick<Person, 'token'>,
  options: Partial<SyncClientOptions> = {},
): Promise<SyncClient> {
  const client = await createSyncClient({
    url: line.url,
    token,
    appId,
    tables: ['note', 'task'],
    storage: memoryStorage(),
    retry: { firstDelayMs: 1, longestDelayMs: 1, retries: 2 },
    ...options,
  });
  opened.push(client);
  return client;
}

/** Resolves once it is so, which it may be already. */
export function until(client: SyncClient, isSo: () => boolean): Promise<void> {
  return new Promise((resolve) => {
    const end = client.onChange(check);
    function check(): void {
      if (!isSo()) return;
      end();
      resolve();
    }
    check();
  });
}

/** A note with a text. */
export const note = (recordId: string, text = recordId, spaceId: string | null = null) =>
  ({ op: 'insert', table: 'note', recordId, data: { text }, spaceId }) as const;
