import type { Readable } from 'node:stream';
import type { Outcome } from '../execution/model.ts';
import { failed } from './failure.ts';

/** What is kept of an answer; the API shows it to whoever may see the execution. */
export interface Answer {
  status: number;
  /** At most 16,000 bytes. */
  body: string;
  /** There was more, which was not read. */
  truncated?: true;
}

/** What undici gives, as far as it is looked at. */
export interface Received {
  statusCode: number;
  headers: Readonly<Record<string, string | string[] | undefined>>;
  body: Readable;
}

const mostBytes = 16_000;
const longestRetryAfterMs = 3_600_000;

/** Reads the answer as far as it is kept; leaving the rest ends the connection, so that nobody can have it read for ever. */
export async function readAnswer({ statusCode, body }: Received): Promise<Answer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of body as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes > mostBytes) break;
  }
  const truncated = bytes > mostBytes;
  // Streaming leaves out the character that the cut went through.
  const text = new TextDecoder().decode(Buffer.concat(chunks).subarray(0, mostBytes), { stream: truncated });
  // It is kept as JSON, and PostgreSQL's has no such character.
  const kept = text.replaceAll('\0', '\u{fffd}');
  return truncated ? { status: statusCode, body: kept, truncated } : { status: statusCode, body: kept };
}

/** @param url where it was sent, for a redirect that is relative to it */
export function outcomeOf(answer: Answer, headers: Received['headers'], url: string): Outcome {
  const { status } = answer;
  if (status >= 200 && status < 300) return { status: 'succeeded', result: answer };
  const retryAfterMs = retryAfterMsOf(headers['retry-after']);
  return failed(sentenceOf(status, headers.location, url), { result: answer, permanent: status === 410, retryAfterMs });
}

function sentenceOf(status: number, location: string | string[] | undefined, url: string): string {
  if (status === 410) return 'The receiver answered 410: it wants no more of these.';
  if (status < 300 || status >= 400) return `Expected an answer from 200 to 299, got ${status}.`;
  // Without the path: where it redirects to may be a secret between the receiver and whom it knows.
  const host = typeof location === 'string' ? URL.parse(location, url)?.host : undefined;
  const where = host === undefined || host === '' ? '' : ` to ${host}`;
  return `The receiver answered ${status}, a redirect${where}: none is followed, so give the URL that it leads to.`;
}

/** @returns from 0 to an hour; null: it does not say, or nothing that can be read */
function retryAfterMsOf(value: string | string[] | undefined): number | null {
  if (typeof value !== 'string') return null;
  const text = value.trim();
  const isDate = /^[A-Z][a-z]+, .+ GMT$/.test(text);
  const ms = /^\d+$/.test(text) ? Number(text) * 1_000 : isDate ? Date.parse(text) - Date.now() : Number.NaN;
  return Number.isNaN(ms) ? null : Math.min(Math.max(ms, 0), longestRetryAfterMs);
}
