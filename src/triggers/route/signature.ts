import { verify as verifyGithub } from '@octokit/webhooks-methods';
import { Webhook, WebhookVerificationError } from 'standardwebhooks';
import { checkSecret, type SignatureScheme } from '../secret.ts';

/** A request as it came in. */
export interface SignedRequest {
  /** What the route asks for. */
  signature: SignatureScheme | 'none';
  /** The route's; null only for `none`. */
  secret: string | null;
  /** Names in lower case, as Node has them. */
  headers: Readonly<Record<string, string | undefined>>;
  /** As it was sent: a body that is parsed and written again has another signature. */
  body: string;
}

export type Verification =
  /** `messageId`: the same for each time that one message is sent, and signed; null: the scheme has none. */
  | { ok: true; messageId: string | null }
  /** `reason`: what was expected, for whoever sent it; it tells nothing of the secret. */
  | { ok: false; reason: string };

/** Whether a request comes from somebody who has the route's secret. Whatever the request holds, it does not throw. */
export async function verifyRequest(request: SignedRequest): Promise<Verification> {
  const { signature, secret } = request;
  if (signature === 'none') return { ok: true, messageId: null };
  if (secret === null || checkSecret(secret, signature) !== null) {
    return refuse('This route has no secret that can be used: its owner has to set another one.');
  }
  return signature === 'standard' ? verifyStandard(request, secret) : await verifyByGithub(request, secret);
}

const toleranceS = 5 * 60;

/**
 * The library checks the signature and the time. The shapes are checked here, because it is generous with them: it reads
 * `12abc` as 12, takes a signature out of two headers that were joined, and lets an id hold a full stop. With one, the parts
 * that are signed (`id.time.body`) can be divided another way, and what somebody once wrote into a body is a time and a body.
 */
function verifyStandard({ headers, body }: SignedRequest, secret: string): Verification {
  const messageId = headers['webhook-id'] ?? '';
  const timestamp = headers['webhook-timestamp'] ?? '';
  const signatures = headers['webhook-signature'] ?? '';
  if (!/^[!-+\-/-~]{1,255}$/.test(messageId)) {
    return refuse('Expected one header webhook-id of at most 255 visible characters without a comma or a full stop.');
  }
  if (!/^\d{1,12}$/.test(timestamp)) {
    return refuse('Expected one header webhook-timestamp with whole seconds since 1970.');
  }
  if (signatures.length > 4_000 || !/^v\w{1,9},[\w+/=-]+( v\w{1,9},[\w+/=-]+)*$/.test(signatures)) {
    return refuse('Expected one header webhook-signature such as v1,… with base64, several with spaces between them.');
  }
  const lateS = Math.floor(Date.now() / 1_000) - Number(timestamp);
  if (Math.abs(lateS) > toleranceS) {
    return refuse(
      `Expected a webhook-timestamp within ${toleranceS} seconds, got one that is ${Math.abs(lateS)} seconds ${lateS > 0 ? 'old' : 'ahead'}.`,
    );
  }
  const given = { 'webhook-id': messageId, 'webhook-timestamp': timestamp, 'webhook-signature': signatures };
  try {
    new Webhook(secret).verify(body, given, { jsonParse: false });
  } catch (error) {
    if (!(error instanceof WebhookVerificationError)) throw error;
    return refuse("Expected a v1 signature of the id, the time and the body as sent, made with this route's secret.");
  }
  return { ok: true, messageId };
}

async function verifyByGithub({ headers, body }: SignedRequest, secret: string): Promise<Verification> {
  const signature = headers['x-hub-signature-256'] ?? '';
  if (!/^sha256=[0-9a-f]{64}$/.test(signature)) {
    return refuse('Expected one header X-Hub-Signature-256 with sha256= and 64 hexadecimal digits in lower case.');
  }
  // The library throws at it.
  if (body === '') return refuse('Expected a body.');
  // GitHub's own id of a delivery is not signed, so that anybody could give an old one a new id.
  return (await verifyGithub(secret, body, signature))
    ? { ok: true, messageId: null }
    : refuse("Expected X-Hub-Signature-256 of the body as sent, made with this route's secret.");
}

function refuse(reason: string): Verification {
  return { ok: false, reason };
}
