import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { value } from '../../support/sql.ts';
import { lettersOf, log, match, matched, matchPage, waiting } from './matching.ts';
import { claim, finish } from './running.ts';
import { connect, createTrigger, owner, type Person, person, project } from './setting.ts';

const maxDepth = 8;
const handler = { kind: 'dead_letter' };
const worktrees = { kind: 'kv', collection_glob: 'worktrees' };

let ada: Person;
beforeAll(async () => {
  ada = await person();
});
afterEach(() => owner.query('delete from triggers.outbox'));

describe('at the depth limit', () => {
  test('a change sets off nothing, and leaves a dead letter that says why', async () => {
    const place = await project(ada);
    const trigger = await createTrigger(ada, place, worktrees, { retry_max_attempts: 4, retry_backoff: 'linear' });
    const [below] = await log(
      { project_id: place, depth: maxDepth - 1 },
      { project_id: place, depth: maxDepth },
      { project_id: place, depth: maxDepth + 1 },
    );
    await match({ maxDepth });
    expect(await matched(trigger)).toEqual([below]);
    const letters = await lettersOf(trigger);
    expect(letters.map(({ depth }) => depth)).toEqual([maxDepth, maxDepth + 1]);
    for (const letter of letters) {
      expect(letter).toMatchObject({ source_kind: 'kv', attempts: 0, resolution: null, resolved: false });
      expect(letter.first_error).toContain('TREELINE_TRIGGER_MAX_DEPTH');
      expect(letter.last_error).toBe(letter.first_error);
    }
    // What it takes to run it all the same, later.
    const kept = `select row_to_json(d) from (select retry_max_attempts, retry_backoff, principal_id, scopes, payload ->> 'depth' as depth
      from triggers.dead_letters where id = $1) d`;
    expect(await value(owner, kept, [letters[0]?.id])).toEqual({
      retry_max_attempts: 4,
      retry_backoff: 'linear',
      principal_id: ada.id,
      scopes: ada.scopes,
      depth: String(maxDepth),
    });
  });

  test('who handles dead letters is told of it, and beyond it no more', async () => {
    const place = await project(ada);
    const trigger = await createTrigger(ada, place, worktrees);
    const telling = await createTrigger(ada, place, handler);
    await log({ project_id: place, depth: maxDepth }, { project_id: place, depth: maxDepth + 1 });
    await match({ maxDepth });
    const [letter] = await lettersOf(trigger);
    const told = await waiting(telling);
    expect(told).toMatchObject([{ source_kind: 'dead_letter', dead_letter_id: letter?.id, depth: maxDepth + 1 }]);
    expect(told[0]?.payload).toEqual({
      type: 'dead_letter',
      timestamp: expect.stringMatching(/Z$/),
      deadLetter: {
        id: letter?.id,
        source: 'KV',
        projectId: place,
        triggerId: trigger,
        scriptId: expect.any(String),
        principalId: ada.id,
        attempts: 0,
        firstError: letter?.first_error,
        lastError: letter?.last_error,
        depth: maxDepth,
        payloadBytes: expect.any(Number),
        payload: expect.objectContaining({ type: 'worktrees.update', depth: maxDepth }),
      },
    });
  });

  test('its letter reaches who handles it, whatever others commit while it is written', async () => {
    const place = await project(ada);
    await createTrigger(ada, place, worktrees);
    const telling = await createTrigger(ada, place, handler);
    await log({ project_id: place, depth: maxDepth });
    const client = await connect();
    await client.query('begin');
    // It has a transaction id now, and later ones end before it looks at the log.
    await client.query('select pg_current_xact_id()');
    await owner.query('update registry.projects set description = name where id = $1', [place]);
    await matchPage(client, { maxDepth });
    await client.query('commit');
    await match({ maxDepth });
    expect(await waiting(telling)).toHaveLength(1);
  });
});

describe('scripts that set off one another', () => {
  /** Runs all that is due, each writing one change of its project, until nothing is; @returns how many ran */
  async function runAll(place: string): Promise<number> {
    for (let ran = 0; ; ) {
      await match({ maxDepth });
      const claimed = await claim();
      if (claimed.length === 0) return ran;
      ran += claimed.length;
      await log(...claimed.map(({ depth }) => ({ project_id: place, depth: depth + 1 })));
      await finish(claimed);
    }
  }
  const lettersIn = (place: string) =>
    value<number>(owner, 'select count(*)::int from triggers.dead_letters where project_id = $1', [place]);

  test('end at the limit, each chain with one letter', async () => {
    const place = await project(ada);
    await createTrigger(ada, place, worktrees);
    await log({ project_id: place }, { project_id: place });
    expect(await runAll(place)).toBe(2 * maxDepth);
    expect(await lettersIn(place)).toBe(2);
  });

  test('end there too when what handles their letters writes as well', async () => {
    const place = await project(ada);
    const trigger = await createTrigger(ada, place, worktrees);
    const telling = await createTrigger(ada, place, handler);
    await log({ project_id: place });
    // As many as the limit, and one for the letter; what that one writes is two beyond, and told to nobody.
    expect(await runAll(place)).toBe(maxDepth + 1);
    expect((await lettersOf(trigger)).map((letter) => [letter.depth, letter.resolution])).toEqual([
      [maxDepth, 'handled_by_script'],
      [maxDepth + 2, null],
    ]);
    expect(await lettersOf(telling)).toEqual([]);
  });
});
