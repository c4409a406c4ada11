import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { runDispatch } from '../../../src/cli/dispatch.ts';
import { readConfig } from '../../../src/config.ts';
import { StartupError } from '../../../src/kernel/errors.ts';
import { full, size } from '../../support/size.ts';
import { rows, value } from '../../support/sql.ts';
import { type Receiver, startReceiver } from '../receiver.ts';
import { createTrigger, database, owner, type Person, person, project, saveScript } from '../sql/setting.ts';
import { type DispatcherProcess, spawnDispatcher } from './processes.ts';
import { attemptsOf, changes, deliveringTo, newWorktrees, untilFound } from './setting.ts';

const eventCount = size(10_000);
/** In the full run one every few seconds. */
const kills = full ? 20 : 2;
const writers = 4;
/** In one transaction. */
const atOnce = 5;

let receiver: Receiver;
beforeAll(async () => {
  receiver = await startReceiver();
  // Its answer is kept, and so tells which event an execution was of.
  receiver.reply((response, { payload }) => void response.end((payload as { position: string }).position));
});
afterAll(() => receiver.close());

describe('three dispatchers, of which one after the other is killed', () => {
  test('run every script for every event at least once, and again only what a dead one was at', {
    timeout: 600_000,
  }, async () => {
    const who = await person();
    const watched = await project(who);
    const writing = await loggingTrigger(who, watched);
    const telling = await tellingTrigger(who, watched, newWorktrees, '$number(position) % 4 = 0');
    const meaningOther = await tellingTrigger(who, watched, { ...newWorktrees, ops: ['delete'] });
    const dispatchers = await Promise.all([start(), start(), start()]);
    for (let n = 0; n < kills; n += 1) {
      const killing = killOneAtWork(dispatchers);
      await writeChanges(watched, Math.ceil(eventCount / kills), killing);
      dispatchers[await killing] = await start();
    }
    await untilFound(async () => !(await value<boolean>(owner, `select exists (${somethingWaits})`)));
    const ended = await Promise.all(dispatchers.map((dispatcher) => dispatcher.stop()));
    expect(ended).toEqual(dispatchers.map(() => ({ code: 0, signal: null, stderr: '' })));

    const positions = await positionsOf(watched);
    expect(positions.length).toBeGreaterThanOrEqual(eventCount);
    const fourth = positions.filter((position) => BigInt(position) % 4n === 0n);
    expect(await value(owner, 'select count(*)::int from triggers.dead_letters')).toBe(0);
    expect(await attemptsOf(meaningOther)).toEqual([]);
    const lost =
      (await expectDone(writing, positions, await loggedPositions())) +
      (await expectDone(telling, fourth, deliveredPositions()));
    expect(lost).toBeGreaterThan(0);
    expect(new Set(receiver.deliveries.map(({ headers }) => headers['webhook-id'])).size).toBe(fourth.length);
    if (full) console.info(`${positions.length} events, ${kills} dispatchers killed, ${lost} executions lost`);
  });
});

test('a dispatcher without a database that it shares with gateways says what it expects', async () => {
  const starting = runDispatch(readConfig({}));
  await expect(starting).rejects.toThrow(StartupError);
  await expect(starting).rejects.toThrow(/^Expected DATABASE_URL: /);
});

const start = () =>
  spawnDispatcher({
    DATABASE_URL: database.ownerUrl,
    TREELINE_DISPATCH_LEASE_MS: '1000',
    TREELINE_WEBHOOK_ALLOW: '127.0.0.0/8',
  });

/** A trigger whose script logs the position of each event. */
async function loggingTrigger(who: Person, projectId: string): Promise<string> {
  const worktree = await value<string>(owner, `select registry.register_worktree($1, 'feat', 'w', 'feat/w', '/w')`, [
    await project(who),
  ]);
  const script_id = await saveScript(who, projectId, {
    document: `mutation ($worktree: ID!, $position: String!) { logActivities(input: { activities: [{
      agentId: "a", type: OTHER, description: $position, worktree: { id: $worktree }
    }] }) { activities { description } } }`,
    variables: { worktree, position: '=position' },
  });
  return createTrigger(who, projectId, newWorktrees, { script_id });
}

async function loggedPositions(): Promise<string[]> {
  const logged = await rows<{ description: string }>(owner, 'select description from registry.agent_activities');
  return logged.map(({ description }) => description);
}

/** A trigger that tells the receiver. */
async function tellingTrigger(
  who: Person,
  projectId: string,
  spec: Record<string, unknown>,
  condition?: string,
): Promise<string> {
  const script_id = await saveScript(who, projectId, deliveringTo(receiver));
  return createTrigger(who, projectId, spec, condition === undefined ? { script_id } : { script_id, condition });
}

const deliveredPositions = () => receiver.deliveries.map(({ payload }) => (payload as { position: string }).position);

/** Kills one that is at something; @returns which */
async function killOneAtWork(dispatchers: readonly DispatcherProcess[]): Promise<number> {
  const victim = await untilFound(async () => {
    // What one has left that was killed before is claimed, too.
    const [row] = await rows<{ index: number }>(
      owner,
      `select array_position($1, split_part(claimed_by, ':', 2)) - 1 as index from triggers.outbox
       where split_part(claimed_by, ':', 2) = any ($1) order by random() limit 1`,
      [dispatchers.map(({ child }) => String(child.pid))],
    );
    return row;
  });
  await dispatchers[victim.index]?.kill();
  return victim.index;
}

const somethingWaits = 'select from triggers.outbox union all select from triggers.candidates';

/** So many changes at least, and more until there were enough. */
async function writeChanges(projectId: string, least: number, enough: Promise<unknown>): Promise<void> {
  let count = 0;
  let isEnough = false;
  const stop = () => {
    isEnough = true;
  };
  enough.then(stop, stop);
  const write = async () => {
    while (count < least || !isEnough) {
      count += atOnce;
      await changes(projectId, atOnce);
    }
  };
  await Promise.all(Array.from({ length: writers }, write));
}

async function positionsOf(projectId: string): Promise<string[]> {
  const found = await rows<{ position: string }>(
    owner,
    `select position::text from feed.events where topic = 'worktrees' and op = 'insert' and project_id = $1`,
    [projectId],
  );
  return found.map(({ position }) => position);
}

/**
 * Each event once in the outbox, and done; more often only by as many attempts as were lost.
 * @param done the position of the event of each thing that was done
 * @returns how many attempts were lost
 */
async function expectDone(triggerId: string, expected: readonly string[], done: readonly string[]): Promise<number> {
  const times = Map.groupBy(done, (position) => position);
  expect([...times.keys()].toSorted()).toEqual(expected.toSorted());
  const tries = [...Map.groupBy(await attemptsOf(triggerId), ({ outbox_id }) => outbox_id).values()].map((attempts) => {
    const succeeded = attempts.filter(({ status }) => status === 'succeeded');
    return { attempts, succeeded, lost: attempts.filter(({ status }) => status === 'lost').length };
  });
  expect(
    tries.filter(({ attempts, succeeded, lost }) => succeeded.length !== 1 || attempts.length !== 1 + lost),
  ).toEqual([]);
  const ran = tries.map(({ succeeded, lost }) => ({ position: positionIn(succeeded[0]?.result), lost }));
  expect(ran.map(({ position }) => position).toSorted()).toEqual(expected.toSorted());
  expect(ran.filter(({ position, lost }) => (times.get(position)?.length ?? 0) > 1 + lost)).toEqual([]);
  return ran.reduce((sum, { lost }) => sum + lost, 0);
}

/** What either script answers tells the position of its event. */
function positionIn(result: unknown): string {
  const { body, logActivities } = result as {
    body?: string;
    logActivities?: { activities: { description: string }[] };
  };
  return body ?? logActivities?.activities[0]?.description ?? '';
}
