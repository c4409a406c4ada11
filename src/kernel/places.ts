import { RequestError } from './errors.ts';

/** Places for work that takes long or holds much: one for each principal, and so many in all. */
export interface Places {
  /** @throws RequestError LIMIT_EXCEEDED when there is no place: nobody waits in line holding a connection */
  take<Result>(principalId: string, act: () => Promise<Result>): Promise<Result>;
}

/** @param called what is done there, as messages name it: `snapshot`, `snapshots` */
export function createPlaces(called: { one: string; many: string }, mostAtOnce = Number.POSITIVE_INFINITY): Places {
  const users = new Set<string>();
  return {
    async take(principalId, act) {
      if (users.size >= mostAtOnce || users.has(principalId)) {
        const whose = users.has(principalId) ? `Another ${called.one} of yours is` : `${mostAtOnce} ${called.many} are`;
        throw new RequestError('LIMIT_EXCEEDED', `${whose} on the way already: try again.`);
      }
      users.add(principalId);
      try {
        return await act();
      } finally {
        users.delete(principalId);
      }
    },
  };
}
