import { randomUUID } from 'node:crypto';
import { beforeAll, expect, test } from 'vitest';
import { value } from '../../support/sql.ts';
import { log, match } from './matching.ts';
import { bury, claim, endLeases, enqueue } from './running.ts';
import { ask, connect, createTrigger, owner, type Person, person, project, saveRoute, saveScript } from './setting.ts';

let ada: Person;
let place: string;
let script: string;
beforeAll(async () => {
  ada = await person();
  place = await project(ada);
  script = await saveScript(ada, place);
});

/** Dispatchers that sleep are woken by whatever puts something into the outbox, or frees it. */
test.each<[string, () => Promise<() => Promise<unknown>>]>([
  [
    'a change that is matched',
    async () => {
      await createTrigger(ada, place);
      await log({ project_id: place });
      return () => match();
    },
  ],
  [
    'a time that has come',
    async () => {
      const spec = { kind: 'cron', expression: '* * * * *', next_due_at: '2026-01-01T00:00:00Z' };
      const trigger = await createTrigger(ada, place, spec);
      const { expression, next_due_at } = spec;
      return () =>
        owner.query(`select triggers.fire_cron($1, $2, 'UTC', $3, 'infinity', '[{}]')`, [
          trigger,
          expression,
          next_due_at,
        ]);
    },
  ],
  [
    'a script that is asked for',
    async () => () => ask(ada, `triggers.invoke($1, '{}', $2, 1000, 8)`, [script, randomUUID()]),
  ],
  [
    'a request that is accepted',
    async () => {
      const route = await saveRoute(ada, place);
      return () => owner.query(`select triggers.receive($1, null, '{}', 0, 8)`, [route]);
    },
  ],
  [
    'a letter that is replayed',
    async () => {
      const letter = await bury(ada, script, { project_id: place });
      return () => ask(ada, `triggers.resolve_dead_letters($1, null, 10, 'replayed')`, [[letter]]);
    },
  ],
  [
    'what is taken back from a dead worker',
    async () => {
      await enqueue(ada, script);
      await claim();
      await endLeases();
      return () => value(owner, 'select reclaimed from triggers.reclaim(10)');
    },
  ],
  [
    'what a worker gives back',
    async () => {
      const id = await enqueue(ada, script);
      await claim();
      return () => owner.query(`select triggers.give_back('worker', $1)`, [[id]]);
    },
  ],
])('%s wakes the dispatchers', async (_, prepare) => {
  const act = await prepare();
  const listener = await connect();
  await listener.query('listen treeline_outbox');
  const woken = new Promise<string>((resolve) => listener.once('notification', ({ channel }) => resolve(channel)));
  await act();
  expect(await woken).toBe('treeline_outbox');
});
