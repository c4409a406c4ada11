import { afterAll, beforeAll } from 'vitest';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import { openTheirs, type Sides } from './setting.ts';

/** A gateway, and the older system beside it: made for the file that asks, closed with it. */
export interface MirroredGateway {
  gateway: TestGateway;
  sides: Sides;
}

export function mirroredGateway(): MirroredGateway {
  const made: Partial<MirroredGateway> = {};
  let closeTheirs = async () => {};
  beforeAll(async () => {
    const gateway = await startGateway();
    const { database } = gateway;
    const theirs = await openTheirs(database);
    closeTheirs = theirs.close;
    made.gateway = gateway;
    made.sides = {
      database,
      ours: database.owner,
      theirs: theirs.pool,
      theirRole: theirs.role,
      connectTheirs: () => theirs.connect(),
      close: async () => {},
    };
  });
  afterAll(async () => {
    await closeTheirs();
    await made.gateway?.close();
  });
  return {
    get gateway() {
      return present(made.gateway);
    },
    get sides() {
      return present(made.sides);
    },
  };
}

function present<T>(part: T | undefined): T {
  if (part === undefined) throw new Error('the gateway is not started yet');
  return part;
}
