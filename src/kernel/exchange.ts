import type { IncomingMessage, ServerResponse } from 'node:http';
import { BodyTooLarge } from './body.ts';
import { Refusal, type RefusalCode, RequestError } from './errors.ts';

/** What a room of its own among the paths does with a request that is no GraphQL. */
export interface HttpExchange {
  request: IncomingMessage;
  response: ServerResponse;
}

const statuses: Partial<Record<RefusalCode, number>> = { NOT_FOUND: 404, FORBIDDEN: 403, PAYLOAD_TOO_LARGE: 413 };

/** Answers what somebody can mend; everything else is for the server to answer, which asks those who are too many to wait. */
export async function answerRefusals(exchange: HttpExchange, act: () => Promise<void>): Promise<void> {
  try {
    await act();
  } catch (error) {
    if (error instanceof BodyTooLarge) {
      sendRefusal(exchange, 413, 'PAYLOAD_TOO_LARGE', `Expected a document of at most ${error.mostBytes} bytes.`, {
        limit: error.mostBytes,
      });
    } else if (error instanceof Refusal) {
      sendRefusal(exchange, statuses[error.code] ?? 400, error.code, error.message, error.details);
    } else {
      if (error instanceof RequestError && !exchange.response.headersSent)
        exchange.response.setHeader('retry-after', '1');
      throw error;
    }
  }
}

/** As errors look everywhere else: clients read one shape. */
export function sendRefusal(
  { response }: HttpExchange,
  status: number,
  code: string,
  message: string,
  details: Readonly<Record<string, unknown>> = {},
): void {
  sendJson(response, status, { errors: [{ message, extensions: { ...details, code } }] });
}

export function sendJson(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json; charset=utf-8' }).end(JSON.stringify(body));
}

export interface Pace {
  /** How long a client may neither send nor read. */
  stallMs: number;
  /** However steadily it does: others wait. None for what nobody waits for. */
  longestMs?: number;
  /** Whether it is the client that is waited for, and not the gateway itself. */
  awaitsClient?: () => boolean;
}

/** Ends what the client does not get on with. */
export async function unlessStalled<Result>(
  { request, response }: HttpExchange,
  { stallMs, longestMs, awaitsClient = () => true }: Pace,
  act: () => Promise<Result>,
): Promise<Result> {
  const { socket } = request;
  const end = () => void socket.destroy();
  const look = () => {
    if (awaitsClient()) end();
    else socket.setTimeout(stallMs);
  };
  // Not on the socket: where nobody listens on the response, Node ends the socket by itself.
  response.on('timeout', look);
  socket.setTimeout(stallMs);
  const deadline = longestMs === undefined ? undefined : setTimeout(end, longestMs);
  try {
    return await act();
  } finally {
    clearTimeout(deadline);
    response.removeListener('timeout', look);
    // Once it is answered, how long it may be idle is the server's concern.
    if (!response.writableFinished) socket.setTimeout(0);
  }
}
