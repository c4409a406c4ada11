import type { TestGateway } from '../support/gateway.ts';
import type { Person } from '../support/people.ts';
import { type Watch, watch } from '../support/watch.ts';

/** What `messageAppended` tells. */
export interface Update {
  cursor: string;
  change: 'CREATED' | 'DELETED';
  message: { sequenceNum: number; messageId: string; content: unknown } | null;
  clearedThrough: number | null;
}

export const followDocument = `subscription ($id: ID!, $afterSequence: Int, $after: Cursor) {
  messageAppended(project: { id: $id }, afterSequence: $afterSequence, after: $after) {
    cursor change clearedThrough message { sequenceNum messageId content }
  }
}`;

export function follow(
  gateway: Pick<TestGateway, 'url' | 'wsUrl' | 'token'>,
  { token }: Pick<Person, 'token'>,
  id: string,
  from: { afterSequence?: number; after?: string } = {},
): Promise<Watch<Update>> {
  return watch<Update>(gateway, followDocument, { id, ...from }, token);
}

/** The numbers of the next messages; -1 for a clearing. */
export async function take(watching: Watch<Update>, howMany: number): Promise<number[]> {
  const numbers: number[] = [];
  for (let n = 0; n < howMany; n += 1) numbers.push((await watching.next()).message?.sequenceNum ?? -1);
  return numbers;
}

export const upTo = (from: number, until: number) => Array.from({ length: until - from }, (_, n) => from + n);
