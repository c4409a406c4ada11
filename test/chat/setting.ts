import { afterAll, beforeAll } from 'vitest';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import { makePerson, makeProject, type Person } from '../support/people.ts';

/** A gateway of the test file's own, and somebody on it. What is imported from here is there once the tests run. */
export let gateway: TestGateway;
export let ada: Person;
beforeAll(async () => {
  gateway = await startGateway();
  ada = await makePerson(gateway, 'ada');
});
afterAll(() => gateway.close());

let count = 0;

/** Another project of hers, with an empty chat. */
export function project(): Promise<string> {
  count += 1;
  return makeProject(gateway, `project-${count}`, ada);
}
