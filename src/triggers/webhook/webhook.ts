import { lookup } from 'node:dns/promises';
import { validateHeaderName, validateHeaderValue } from 'node:http';
import { Webhook } from 'standardwebhooks';
import { Agent, type Dispatcher } from 'undici';
import { createDeadline } from '../execution/deadline.ts';
import type { Outcome } from '../execution/model.ts';
import { checkSecret } from '../secret.ts';
import { createAddressRule } from './addresses.ts';
import { outcomeOf, readAnswer } from './answer.ts';
import { createConnector, type Resolve } from './connector.ts';
import { failed, outcomeOfError } from './failure.ts';

/** One attempt to deliver. */
export interface Delivery {
  url: string;
  /** Of Standard Webhooks: `whsec_…`. */
  secret: string;
  /** The registrant's own; see `checkHeaders`. */
  headers: Readonly<Record<string, string>>;
  /** The same for each attempt, so that receivers know what they have; without a full stop, which divides what is signed. */
  messageId: string;
  /** JSON. */
  body: string;
  /** For all of it: the name, the connection, the answer to its end. */
  timeoutMs: number;
  /** How many scripts there were before this one; a receiver that acts on Treeline can tell a loop by it. */
  depth: number;
}

export interface Webhooks {
  /**
   * Delivers once, to a public address or one that an operator allows, without following redirects. The result is an
   * `Answer`, also where the receiver said no.
   * @param stop ends it: failed, but not for good
   */
  send(delivery: Delivery, stop?: AbortSignal): Promise<Outcome>;
  /** Ends what is under way, and all connections. */
  close(): Promise<void>;
}

export interface WebhooksOptions {
  /** Networks that may be reached although private, in clear text too: `TREELINE_WEBHOOK_ALLOW`. */
  allow: readonly string[];
  /** Certificates to trust instead of the usual authorities, in PEM. */
  ca?: string;
  /** The addresses of a name; the system's resolver when left out. */
  resolve?: Resolve;
}

/** @throws StartupError when something in `allow` is no network */
export function createWebhooks({ allow, ca, resolve = resolveName }: WebhooksOptions): Webhooks {
  const connector = createConnector({ rule: createAddressRule(allow), resolve, ca });
  const agent = new Agent({
    connect: connector.connect,
    allowH2: false,
    // A burst shares its connections. They are closed soon, before receivers close them: a request that crosses with that
    // would be lost.
    keepAliveTimeout: 1_000,
    keepAliveMaxTimeout: 1_000,
    // Each delivery has one limit for all of it.
    headersTimeout: 0,
    bodyTimeout: 0,
  });
  return {
    async send(delivery, stop) {
      const mistake = mistakeIn(delivery);
      if (mistake !== null) return failed(mistake, { permanent: true });
      const { timeoutMs } = delivery;
      using end = createDeadline({
        timeoutMs,
        stop,
        late: `The receiver had not answered in full after ${timeoutMs} ms.`,
        stopped: 'The gateway stopped while it delivered this.',
      });
      try {
        const request = agent.request(toRequest(delivery, end.signal));
        // undici hears the signal only once it is connected; what it then finds aborted it does not send.
        const response = await Promise.race([request, end.reached]);
        return outcomeOf(await readAnswer(response), response.headers, delivery.url);
      } catch (error) {
        return end.outcome() ?? outcomeOfError(error);
      }
    },
    async close() {
      connector.close();
      await agent.destroy();
    },
  };
}

const resolveName: Resolve = (hostname) => lookup(hostname, { all: true });

function mistakeIn({ url, headers, secret }: Delivery): string | null {
  return checkUrl(url) ?? checkHeaders(headers) ?? checkSecret(secret, 'standard');
}

function toRequest({ url, secret, headers, messageId, body, depth }: Delivery, signal: AbortSignal) {
  const { origin, pathname, search } = new URL(url);
  const now = new Date();
  return {
    origin,
    path: pathname + search,
    method: 'POST',
    headers: {
      ...headers,
      'content-type': 'application/json',
      // What comes is kept as text, and never unpacked.
      'accept-encoding': 'identity',
      'user-agent': 'Treeline-Hooks',
      'treeline-depth': String(depth),
      'webhook-id': messageId,
      'webhook-timestamp': String(Math.floor(now.getTime() / 1_000)),
      'webhook-signature': new Webhook(secret).sign(messageId, now, body),
    },
    body,
    signal,
  } satisfies Dispatcher.RequestOptions & { origin: string };
}

const longestUrl = 2_000;

/** @returns what is wrong with a webhook's URL, as far as it can be told without connecting; null: nothing */
export function checkUrl(text: string): string | null {
  const url = text.length <= longestUrl ? URL.parse(text) : null;
  if (url === null || (url.protocol !== 'https:' && url.protocol !== 'http:')) {
    return `Expected a URL of at most ${longestUrl} characters that begins with https:// (or http://, for networks that an operator allows).`;
  }
  if (url.username !== '' || url.password !== '') {
    return 'Expected a URL without a user and a password: put what the receiver wants to know into a header.';
  }
  return null;
}

const mostHeaders = 50;
const mostHeaderBytes = 8_000;

/** They say what is sent, how, and from whom: that is not the registrant's to say. */
const ownHeaders =
  /^(webhook-.*|treeline-.*|content-.*|proxy-.*|host|user-agent|connection|keep-alive|transfer-encoding|te|trailer|upgrade|expect|accept-encoding|http2-settings)$/i;

/**
 * Checks the headers that a registrant wants to be sent.
 * @returns what is wrong, with the header's name and never its value; null: nothing
 */
export function checkHeaders(headers: unknown): string | null {
  if (typeof headers !== 'object' || headers === null || Array.isArray(headers)) {
    return 'Expected headers as an object of names and values.';
  }
  const entries = Object.entries(headers);
  if (entries.length > mostHeaders) return `Expected at most ${mostHeaders} headers, got ${entries.length}.`;
  const seen = new Set<string>();
  let bytes = 0;
  for (const [name, value] of entries) {
    const mistake = mistakeInHeader(name, value);
    if (mistake !== null) return mistake;
    if (seen.has(name.toLowerCase())) return `Expected each header once, got ${name} twice.`;
    seen.add(name.toLowerCase());
    bytes += Buffer.byteLength(name) + Buffer.byteLength(String(value));
  }
  return bytes > mostHeaderBytes
    ? `Expected headers of at most ${mostHeaderBytes} bytes together, got ${bytes}.`
    : null;
}

function mistakeInHeader(name: string, value: unknown): string | null {
  const shown = JSON.stringify(name.slice(0, 100));
  try {
    validateHeaderName(name);
  } catch {
    return `Expected the name of an HTTP header, got ${shown}.`;
  }
  if (ownHeaders.test(name)) return `Expected headers of your own, got ${shown}, which Treeline sets itself.`;
  if (typeof value !== 'string') return `Expected text as the value of the header ${shown}.`;
  try {
    validateHeaderValue(name, value);
  } catch {
    return `Expected a value of the header ${shown} that HTTP can carry: no line breaks, and no characters beyond Latin-1.`;
  }
  return null;
}
