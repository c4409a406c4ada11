import type { Client } from '../client/client.ts';
import { GatewayError } from '../client/client.ts';
import { follow, type Notice } from '../client/follow.ts';
import { graphql } from '../client/generated/gql.ts';
import type { ProjectRef } from '../client/generated/graphql.ts';
import { StartupError } from '../kernel/errors.ts';
import { type CursorFile, keepCursor, readCursor } from './cursor-file.ts';
import { type Event, EventLines } from './event-line.ts';

/**
 * `treeline watch-feed`: the log of changes in a terminal. What is printed and what is remembered as printed go together:
 * the cursor moves on once a line has left this process.
 */

const eventsDocument = graphql(`
  subscription FeedEvents($topics: [String!], $project: ProjectRef, $after: Cursor!) {
    events(topics: $topics, project: $project, after: $after) {
      cursor
      at
      topic
      op
      entityId
      projectId
      agentId
      principalId
      changed
      depth
      data
    }
  }
`);

const cursorDocument = graphql(`
  query FeedCursor {
    cursor
  }
`);

export interface WatchOptions {
  topic?: string[];
  project?: string;
  after?: string;
  state?: string;
  json?: boolean;
}

/** Where it goes on, and where that is kept. */
interface Progress {
  cursor: string;
  file: CursorFile | null;
}

export async function watchFeed(client: Client, options: WatchOptions): Promise<void> {
  const stop = untilSignal();
  const broken = new AbortController();
  process.stdout.on('error', () => broken.abort());
  const kept = options.state === undefined ? null : await readCursor(options.state);
  const progress: Progress = {
    cursor: options.after ?? kept ?? (await now(client)),
    file: options.state === undefined ? null : keepCursor(options.state, (error) => say(error.message)),
  };
  // From the beginning: what cannot be kept is said now, and what happens before the first event is not forgotten.
  progress.file?.save(progress.cursor);
  await progress.file?.flush();
  try {
    await printAll(client, options, progress, AbortSignal.any([stop, broken.signal]));
  } catch (error) {
    if (!broken.signal.aborted) throw explained(error, options);
  } finally {
    await progress.file?.flush();
  }
  if (stop.aborted && options.state === undefined) say(`To go on from here: ${commandFor(options, progress.cursor)}`);
}

async function printAll(client: Client, options: WatchOptions, progress: Progress, signal: AbortSignal): Promise<void> {
  const lines = new EventLines(client);
  const project: ProjectRef | null = options.project === undefined ? null : { slug: options.project };
  while (!signal.aborted) {
    const updates = follow({
      endpoint: client.endpoint,
      document: eventsDocument,
      variables: { topics: options.topic ?? null, project },
      after: progress.cursor,
      cursorOf: ({ events }) => events.cursor,
      signal,
      onNotice: (notice) => say(noticeText(notice, client.endpoint.url)),
    });
    try {
      for await (const batch of updates) {
        const events = batch.map((update) => update.events);
        const text = options.json === true ? events.map(jsonLine).join('') : await lines.of(events);
        // One that is asked to stop here prints what it has: it is taken, and would otherwise have to come again.
        await write(text);
        progress.cursor = events.at(-1)?.cursor ?? progress.cursor;
        progress.file?.save(progress.cursor);
      }
    } catch (error) {
      if (!(error instanceof GatewayError) || error.code !== 'CURSOR_EXPIRED') throw error;
      say('The log no longer reaches back to the last cursor: events may have been missed. Going on from now.');
      progress.cursor = await now(client);
      progress.file?.save(progress.cursor);
    }
  }
}

async function now(client: Client): Promise<string> {
  return (await client.request(cursorDocument)).cursor;
}

function jsonLine(event: Event): string {
  return `${JSON.stringify(event)}\n`;
}

/** Resolves once the text has left this process, however slow its reader is. */
function write(text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write(text, (error) => (error == null ? resolve() : reject(error)));
  });
}

/** Standard output is for events alone. */
function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

function noticeText(notice: Notice, url: string): string {
  return notice.kind === 'back'
    ? `The gateway at ${url} is back: going on after the last event.`
    : `The gateway at ${url} is gone (${notice.reason}); trying again until it is back.`;
}

function explained(error: unknown, { state }: WatchOptions): unknown {
  if (!(error instanceof GatewayError) || error.code !== 'BAD_CURSOR') return error;
  return new StartupError(
    state === undefined
      ? 'What --after names is no cursor of this gateway: take one from "cursor" of a query, a payload or an event.'
      : `What ${state} holds is no cursor of this gateway. Remove the file to begin from now.`,
  );
}

function commandFor({ topic, project, json }: WatchOptions, cursor: string): string {
  return [
    'treeline watch-feed',
    ...(topic === undefined ? [] : [`--topic ${topic.join(' ')}`]),
    ...(project === undefined ? [] : [`--project ${project}`]),
    ...(json === true ? ['--json'] : []),
    `--after ${cursor}`,
  ].join(' ');
}

const endings = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
/** npm passes on the signal that a terminal has sent to all of its programs: it comes twice. */
const sameSignalMs = 1_000;

/** Aborted by the first signal; a second one ends the process at once, also where its output is stuck. */
function untilSignal(): AbortSignal {
  const stop = new AbortController();
  const end = () => {
    if (stop.signal.aborted) return;
    stop.abort();
    setTimeout(() => {
      for (const name of endings) process.off(name, end);
    }, sameSignalMs).unref();
  };
  for (const name of endings) process.on(name, end);
  return stop.signal;
}
