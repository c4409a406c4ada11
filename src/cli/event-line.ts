import { setTimeout as delay } from 'node:timers/promises';
import type { Client } from '../client/client.ts';
import { graphql } from '../client/generated/gql.ts';
import type { FeedEventsSubscription } from '../client/generated/graphql.ts';
import { encodeId } from '../kernel/ids.ts';
import { printable } from './table.ts';

export type Event = FeedEventsSubscription['events'];

const namesDocument = graphql(`
  query FeedNames($ids: [ID!]!) {
    nodes(ids: $ids) {
      id
      ... on Project { slug }
      ... on Worktree { name }
    }
  }
`);

/** The facts of `FeedEvent.data` that a line shows. */
interface Facts {
  name?: string;
  slug?: string;
  before?: { name?: string; slug?: string };
  after?: { name?: string; slug?: string };
  reason?: string;
  type?: string;
  file_path?: string | null;
  worktree_id?: string;
  direction?: string;
  mai_id?: string;
}

const idsAtOnce = 100;
const patienceMs = 2_000;
const mostKept = 20_000;

/** Events as lines for people: with the names of things, of which the log itself mostly has ids. */
export class EventLines {
  readonly #client: Client;
  /** Slugs of projects and names of worktrees, by id; null: gone. */
  readonly #names = new Map<string, string | null>();

  constructor(client: Client) {
    this.#client = client;
  }

  /** Events in their order: a name is the one that it had last. */
  async of(events: readonly Event[]): Promise<string> {
    if (this.#names.size > mostKept) this.#names.clear();
    await this.#lookUp(events);
    return events.map((event) => `${this.#line(event)}\n`).join('');
  }

  /** What no event has told yet. Ids do too, where nobody answers soon. */
  async #lookUp(events: readonly Event[]): Promise<void> {
    const told = new Set(events.filter(tellsItsName).map((event) => event.entityId));
    const wanted = new Set(
      events
        .flatMap((event) => [event.projectId, worktreeOf(event)])
        .filter((id) => id != null && !this.#names.has(id) && !told.has(id)) as string[],
    );
    if (wanted.size === 0) return;
    await Promise.race([this.#ask([...wanted]), delay(patienceMs, undefined, { ref: false })]);
  }

  async #ask(ids: readonly string[]): Promise<void> {
    for (let from = 0; from < ids.length; from += idsAtOnce) {
      const some = ids.slice(from, from + idsAtOnce);
      const answer = await this.#client.request(namesDocument, { ids: some }).catch(() => null);
      if (answer === null) return;
      for (const [index, id] of some.entries()) this.#names.set(id, nameOf(answer.nodes[index]));
    }
  }

  #line(event: Event): string {
    const { before, after, ...facts } = event.data as Facts;
    const told = facts.name ?? facts.mai_id ?? after?.name ?? before?.name ?? null;
    const slug = after?.slug ?? before?.slug ?? null;
    if (event.topic === 'worktrees') this.#names.set(event.entityId, told);
    if (event.topic === 'projects') this.#names.set(event.entityId, slug);
    const worktree = worktreeOf(event);
    const name = told ?? (worktree === null ? null : this.#names.get(worktree)) ?? null;
    const project = event.projectId == null ? null : (this.#names.get(event.projectId) ?? event.projectId);
    const how = facts.reason ?? [facts.type, facts.file_path].filter((part) => part != null).join(' ');
    return [
      localTime(event.at),
      event.topic.padEnd(14),
      event.op.toLowerCase().padEnd(6),
      shown(name).padEnd(24),
      shown(project).padEnd(16),
      shown(event.agentId).padEnd(12),
      printable(how || [facts.direction, event.changed.join(', ')].filter(Boolean).join(' ')),
    ]
      .join('  ')
      .trimEnd();
  }
}

function tellsItsName({ topic }: Event): boolean {
  return topic === 'worktrees' || topic === 'projects';
}

/** The worktree that an event of something else is about. */
function worktreeOf({ topic, entityId, data }: Event): string | null {
  if (topic === 'claims') return entityId;
  const { worktree_id: key } = data as Facts;
  return key === undefined ? null : encodeId('Worktree', key);
}

function nameOf(node: { id: string; slug?: string; name?: string } | null | undefined): string | null {
  return node?.slug ?? node?.name ?? null;
}

function shown(text: string | null | undefined): string {
  return text == null ? '-' : printable(text);
}

function localTime(at: string): string {
  const time = new Date(at);
  const two = (part: number) => String(part).padStart(2, '0');
  const date = [time.getFullYear(), two(time.getMonth() + 1), two(time.getDate())].join('-');
  return `${date} ${[time.getHours(), time.getMinutes(), time.getSeconds()].map(two).join(':')}`;
}
