import { afterAll, beforeAll } from 'vitest';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import { makePerson, type Person } from '../support/people.ts';

/** A gateway of the test file's own. What is imported from here is there once the tests run. */
export let gateway: TestGateway;
beforeAll(async () => {
  gateway = await startGateway();
});
afterAll(() => gateway.close());

let count = 0;

/** Somebody who has changed nothing yet. */
export function person(scopes: readonly string[] = ['REGISTRY_READ', 'SYNC']): Promise<Person> {
  count += 1;
  return makePerson(gateway, `person-${count}`, scopes);
}
