import pg from 'pg';
import { value } from '../../support/sql.ts';
import { untilBlocked } from '../../sync/sql/asking.ts';
import { openSides, type Sides } from '../setting.ts';
import { expectAgreement } from './agreement.ts';

/**
 * A trigger of somebody else's that comes before the mirror's: whoever has written a row, and nothing of the other side yet,
 * stops there while the gate is shut. So each of two transactions holds its own when it goes for the other's.
 */
const gate = `
create schema gate;
grant usage on schema gate to public;
create function gate.pass() returns trigger language plpgsql as $$
begin
  perform pg_advisory_xact_lock_shared(1);
  return null;
end $$;
create trigger a_gate after insert or update or delete on registry.projects for each row execute function gate.pass();
create trigger a_gate after insert or update or delete on mai.projects for each row execute function gate.pass();`;

/** A database of its own with one connection on each side, for two transactions that meet. */
export interface Meeting {
  sides: Sides;
  here: pg.Client;
  there: pg.Client;
  /** Until this one waits for a lock of another. */
  untilWaiting(client: pg.Client): Promise<void>;
  /**
   * Both write their own, and once both have they go on at once.
   * @returns the side that was ended by a deadlock, if one was; any other error is thrown
   */
  collide(textHere: string, textThere: string): Promise<'here' | 'there' | undefined>;
}

/** In the end both sides have to agree. */
export async function withMeeting(action: (meeting: Meeting) => Promise<void>): Promise<void> {
  const sides = await openSides();
  await sides.ours.query(gate);
  const [here, there, keeper] = await Promise.all([
    sides.database.connect(),
    sides.connectTheirs(),
    sides.database.connect(),
  ]);
  const pids = new Map<pg.Client, number>();
  for (const client of [here, there]) pids.set(client, await value<number>(client, 'select pg_backend_pid()'));
  const untilWaiting = (client: pg.Client) => untilBlocked(sides.database, pids.get(client) ?? 0);
  const collide = async (textHere: string, textThere: string) => {
    await keeper.query('select pg_advisory_lock(1)');
    const outcomes = [endOf(here.query(textHere)), endOf(there.query(textThere))];
    for (const client of [here, there]) await untilWaiting(client);
    await keeper.query('select pg_advisory_unlock(1)');
    const [errorHere, errorThere] = await Promise.all(outcomes);
    if (errorHere !== undefined && errorThere !== undefined)
      throw new Error('expected one to go through, both were ended');
    return errorHere !== undefined ? 'here' : errorThere !== undefined ? 'there' : undefined;
  };
  try {
    await action({ sides, here, there, untilWaiting, collide });
    await expectAgreement(sides);
  } finally {
    await Promise.all([here, there, keeper].map((client) => client.end()));
    await sides.close();
  }
}

/** The deadlock that ended a statement; undefined when it went through. */
async function endOf(statement: Promise<unknown>): Promise<pg.DatabaseError | undefined> {
  try {
    await statement;
    return undefined;
  } catch (error) {
    if (error instanceof pg.DatabaseError && error.code === '40P01') return error;
    throw error;
  }
}
