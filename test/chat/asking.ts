import type { TestGateway } from '../support/gateway.ts';

/** What a chat's client sends and gets. */
export interface Sent {
  messageId: string;
  role?: 'USER' | 'ASSISTANT' | 'SYSTEM';
  content: unknown;
  annotations?: unknown;
  createdAt?: string;
}

export interface Stored {
  id: string;
  messageId: string;
  sequenceNum: number;
  role: string;
  content: unknown;
  annotations: unknown;
}

export interface Appended {
  insertedCount: number | null;
  messages: Stored[] | null;
  cursor: string | null;
  userErrors: { code: string; message: string; path: string[]; details: Record<string, unknown> | null }[];
}

export const stored = 'id messageId sequenceNum role content annotations';
const appendDocument = `mutation ($i: AppendMessagesInput!) {
  appendMessages(input: $i) { insertedCount cursor messages { ${stored} } userErrors { code message path details } }
}`;

type Asking = Pick<TestGateway, 'ask'>;

export async function append(
  gateway: Asking,
  token: string,
  project: string,
  messages: readonly Sent[],
): Promise<Appended> {
  const i = { project: { id: project }, messages: messages.map((message) => ({ role: 'USER', ...message })) };
  return (await gateway.ask<{ appendMessages: Appended }>(appendDocument, { i }, { token })).appendMessages;
}

export interface Page {
  nodes: Stored[];
  pageInfo: { hasNextPage: boolean; hasPreviousPage: boolean; startCursor: string | null; endCursor: string | null };
}

export async function readPage(
  gateway: Asking,
  token: string,
  project: string,
  page: { first?: number; after?: string | null; last?: number; before?: string | null },
): Promise<Page> {
  const { project: found } = await gateway.ask<{ project: { messages: Page } }>(
    `query ($id: ID!, $first: Int, $after: String, $last: Int, $before: String) {
      project(by: { id: $id }) {
        messages(first: $first, after: $after, last: $last, before: $before) {
          nodes { ${stored} } pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
        }
      }
    }`,
    { id: project, ...page },
    { token },
  );
  return found.messages;
}

/** The whole chat, from its beginning. */
export async function readAll(gateway: Asking, token: string, project: string): Promise<Stored[]> {
  const all: Stored[] = [];
  for (let after: string | null = null; ; ) {
    const { nodes, pageInfo } = await readPage(gateway, token, project, { first: 100, after });
    all.push(...nodes);
    if (!pageInfo.hasNextPage) return all;
    after = pageInfo.endCursor;
  }
}

export async function clear(gateway: Asking, token: string, project: string, expectedCount: number) {
  const { clearMessages } = await gateway.ask<{
    clearMessages: { clearedCount: number | null; userErrors: { code: string; path: string[]; details: unknown }[] };
  }>(
    'mutation ($i: ClearMessagesInput!) { clearMessages(input: $i) { clearedCount userErrors { code path details } } }',
    { i: { project: { id: project }, expectedCount } },
    { token },
  );
  return clearMessages;
}

/** Messages that say their numbers. */
export const numbered = (prefix: string, from: number, count: number): Sent[] =>
  Array.from({ length: count }, (_, n) => ({ messageId: `${prefix}-${from + n}`, content: `${prefix} ${from + n}` }));
