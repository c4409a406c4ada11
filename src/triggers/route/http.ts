import type { IncomingMessage } from 'node:http';
import type { Kysely } from 'kysely';
import type { DB } from '../../db/database.generated.ts';
import { findUnstorable } from '../../db/storable.ts';
import type { Feed } from '../../feed/feed.ts';
import { readBody } from '../../kernel/body.ts';
import { Refusal, RequestError } from '../../kernel/errors.ts';
import { answerRefusals, type HttpExchange, sendJson, sendRefusal, unlessStalled } from '../../kernel/exchange.ts';
import type { TriggersContext } from '../context.ts';
import { awaitReply, type Reply } from '../script/invoke.ts';
import { type Accepted, acceptRequest, findRoute, type RouteFound } from './receive.ts';
import { verifyRequest } from './signature.ts';

/**
 * Inbound webhooks: whoever calls a path under `/hooks` proves itself by its signature, has no token, and sets off the
 * route's script. What is accepted is in the outbox before it is answered: 202, or the script's result where the route is
 * synchronous.
 */
export interface HooksOptions {
  db: Kysely<DB>;
  feed: Feed;
  triggers: TriggersContext;
}

interface HookExchange extends HttpExchange {
  /** The whole path. */
  parameters: readonly string[];
  caller: { gone: boolean };
}

const mostBodyBytes = 1_000_000;
/** What is read of strangers at the same time. */
const mostAtOnce = 64;
/** Who may wait for a result at the same time. */
const mostWaiting = 256;
/** Whoever holds one of these places does not hold it for long. */
const bodyPace = { stallMs: 5_000, longestMs: 10_000 };
/** A script's end takes a moment to be told. */
const graceMs = 1_000;
const depthHeader = 'treeline-depth';
const deepest = 9_999;

export function createHooksRoom(options: HooksOptions) {
  let reading = 0;
  let waiting = 0;

  async function visit(exchange: HookExchange): Promise<void> {
    const { request, parameters } = exchange;
    await answerRefusals(exchange, async () => {
      const route = await findRoute(options.db, request.method ?? '', parameters[0] ?? '');
      if (route === null) throw nothingHere(request);
      if (reading >= mostAtOnce)
        throw new RequestError('LIMIT_EXCEEDED', 'Too many requests come in at once: try again.');
      reading += 1;
      const body = await unlessStalled(exchange, bodyPace, () => readBody(request, mostBodyBytes)).finally(() => {
        reading -= 1;
      });
      const verified = await verifyRequest({ ...route, headers: plainHeaders(request), body });
      if (!verified.ok) return sendRefusal(exchange, 401, 'UNAUTHENTICATED', verified.reason);
      const found = { options, route, messageId: verified.messageId, payload: payloadOf(request, body) };
      if (route.dispatch_mode === 'async') return answerAccepted(exchange, found);
      if (waiting >= mostWaiting)
        throw new RequestError('LIMIT_EXCEEDED', 'Too many requests wait for a result: try again.');
      waiting += 1;
      await answerWithResult(exchange, found).finally(() => {
        waiting -= 1;
      });
    });
  }

  return { name: 'hook', path: /^(\/hooks\/.+)$/, open: true as const, visit };
}

interface Visit {
  options: HooksOptions;
  route: RouteFound;
  messageId: string | null;
  payload: unknown;
}

async function answerAccepted(exchange: HookExchange, visit: Visit): Promise<void> {
  const accepted = requireAccepted(await accept(exchange, visit, null));
  sendJson(exchange.response, 202, accepted.outcome === 'duplicate' ? { duplicate: true } : { id: accepted.id });
}

async function answerWithResult(exchange: HookExchange, visit: Visit): Promise<void> {
  const { options, route } = visit;
  const waitMs = route.timeout_ms + graceMs;
  const reply = await awaitReply({
    db: options.db,
    replies: options.triggers.replies,
    caller: exchange.caller,
    waitMs,
    ask: async (replyTo) => {
      const accepted = requireAccepted(await accept(exchange, visit, { to: replyTo, waitMs }));
      if (accepted.outcome === 'duplicate') throw duplicate;
    },
  }).catch((error: unknown) => {
    if (error === duplicate) return 'duplicate' as const;
    if (error instanceof Refusal && error.code === 'TIMED_OUT') return null;
    throw error;
  });
  if (reply === 'duplicate') return sendRefusal(exchange, 409, duplicate.code, duplicate.message);
  if (reply?.status === 'succeeded') {
    exchange.response.setHeader('x-treeline-execution', reply.executionId);
    return sendJson(exchange.response, 200, reply.result);
  }
  if (reply === null) return sendRefusal(exchange, 504, 'TIMED_OUT', `No result came within ${waitMs} ms.`);
  const { executionId } = reply;
  if (reply.status === 'timed_out') {
    return sendRefusal(exchange, 504, 'TIMED_OUT', failureFor(route, reply), { executionId });
  }
  sendRefusal(exchange, 502, 'FAILED', failureFor(route, reply), { executionId });
}

const duplicate = new Refusal('CONFLICT', 'This webhook-id came before, and its result went to whoever sent it then.');

/** Strangers, whom no signature vouches for, are not told what the script met. */
function failureFor({ signature }: RouteFound, { error }: Reply): string {
  return signature === 'none' ? 'The script failed.' : `The script failed: ${error}`;
}

async function accept(
  { request }: HookExchange,
  { options, route, messageId, payload }: Visit,
  reply: { to: string; waitMs: number } | null,
): Promise<Accepted> {
  const { maxDepth } = options.triggers;
  try {
    return await acceptRequest(options.db, {
      routeId: route.id,
      messageId,
      payload,
      depth: depthOf(request),
      maxDepth,
      reply,
    });
  } finally {
    // One that goes too deep became a dead letter, which is an event.
    options.feed.ring();
  }
}

function requireAccepted(accepted: Accepted): Accepted {
  if (accepted.outcome === 'gone') throw new Refusal('NOT_FOUND', 'This route is gone.');
  if (accepted.outcome === 'too_deep') {
    throw new Refusal('INVALID', 'Scripts have set off one another as often as may be: it became a dead letter.');
  }
  return accepted;
}

function nothingHere(request: IncomingMessage): Refusal {
  return new Refusal('NOT_FOUND', `No route takes ${request.method} here: saveRoute makes one.`);
}

/** From webhooks of our own: a loop through another program is a loop. */
function depthOf({ headers }: IncomingMessage): number {
  const text = headers[depthHeader];
  if (text === undefined) return 0;
  // What is there and cannot be read is no reason to begin anew.
  return typeof text === 'string' && /^\d{1,4}$/.test(text) ? Number(text) : deepest;
}

function plainHeaders({ headers }: IncomingMessage): Record<string, string | undefined> {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name, Array.isArray(value) ? value.join(', ') : value]),
  );
}

/** What proves who somebody is has been checked, and is not kept. */
const secretHeaders = /^(authorization|proxy-authorization|cookie|.*(signature|token|secret|api-?key).*)$/;

function payloadOf(request: IncomingMessage, body: string): unknown {
  const url = new URL(request.url ?? '/', 'http://localhost');
  const headers = Object.entries(plainHeaders(request)).filter(([name]) => !secretHeaders.test(name));
  const payload = {
    type: 'http',
    timestamp: new Date().toISOString(),
    method: request.method,
    path: url.pathname,
    query: Object.fromEntries(url.searchParams),
    headers: Object.fromEntries(headers),
    body: readContent(request.headers['content-type'] ?? '', body),
  };
  const unstorable = findUnstorable(payload);
  if (unstorable === null) return payload;
  throw new Refusal(
    'INVALID',
    `The request cannot be stored: ${unstorable.path.slice(0, 10).join('.')} ${unstorable.problem}.`,
  );
}

/** JSON as it is, a form by its fields, of which GitHub has one with JSON in it; else the text. */
function readContent(type: string, body: string): unknown {
  if (/^application\/x-www-form-urlencoded\b/i.test(type)) {
    const fields = Object.fromEntries(new URLSearchParams(body));
    return typeof fields.payload === 'string' ? { ...fields, payload: parsed(fields.payload) } : fields;
  }
  if (body === '') return null;
  return /\bjson\b/i.test(type) ? parsed(body) : body;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new Refusal('INVALID', 'Expected a body of JSON, as its Content-Type says.');
  }
}
