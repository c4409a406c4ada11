import { randomUUID } from 'node:crypto';
import { type ClientRequest, request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { text } from 'node:stream/consumers';
import { Webhook } from 'standardwebhooks';
import { done, keyIn, mutate, type Setting, saveScript } from '../api/asking.ts';

export interface SavedRoute {
  id: string;
  /** Of the row. */
  key: string;
  path: string;
  /** Empty where requests are not signed. */
  secret: string;
}

/** A route of grace's project, by the Standard Webhooks specification unless it says otherwise. */
export async function saveRoute(setting: Setting, input: Record<string, unknown> = {}): Promise<SavedRoute> {
  const given = {
    project: { id: setting.projectId },
    method: 'POST',
    path: randomUUID(),
    script: input.script ?? (await saveScript(setting)),
    ...input,
  };
  const { route, secret } = await done(
    mutate<{ route: { id: string; path: string }; secret: string | null }>(
      setting,
      'saveRoute',
      'route { id path } secret',
      given,
      setting.grace,
    ),
  );
  return { ...route, key: keyIn(route.id), secret: secret ?? '' };
}

/** What a sender of Standard Webhooks says of a body. */
export function signed(
  { secret }: Pick<SavedRoute, 'secret'>,
  body: string,
  { id = `msg_${randomUUID()}`, lateS = 0 }: { id?: string; lateS?: number } = {},
): Record<string, string> {
  const at = new Date(Date.now() - lateS * 1_000);
  return {
    'webhook-id': id,
    'webhook-timestamp': String(Math.floor(at.getTime() / 1_000)),
    'webhook-signature': new Webhook(secret).sign(id, at, body),
  };
}

export interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  // biome-ignore lint/suspicious/noExplicitAny: whatever the test expects
  body: any;
}

export interface Call {
  method?: string;
  body?: string;
  headers?: Record<string, string>;
}

/** A request that the test sends piece by piece; nothing is sent until it writes or ends it. */
export function open(
  { gateway }: Pick<Setting, 'gateway'>,
  path: string,
  { method = 'POST', headers = {} }: Omit<Call, 'body'> = {},
): { request: ClientRequest; answer: Promise<Answer> } {
  const { hostname, port } = new URL(gateway.url);
  const request = httpRequest({ hostname, port, method, path, agent: false, headers });
  const answer = new Promise<Answer>((resolve, reject) => {
    request.on('error', reject);
    request.on('response', (response) => {
      text(response).then((body) => {
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          body: body === '' ? null : JSON.parse(body),
        });
      }, reject);
    });
  });
  answer.catch(() => {});
  return { request, answer };
}

/** Sends JSON, unless the headers say otherwise. */
export function call(
  setting: Pick<Setting, 'gateway'>,
  path: string,
  { method = 'POST', body = '{}', headers = {} }: Call = {},
): Promise<Answer> {
  const { request, answer } = open(setting, path, {
    method,
    headers: {
      'content-type': 'application/json',
      // Of what has no body by rights, Node would send one that nobody knows the length of.
      'content-length': String(Buffer.byteLength(body)),
      ...headers,
    },
  });
  request.end(body);
  return answer;
}

/** Calls a route as whoever has its secret does. */
export function callSigned(
  setting: Pick<Setting, 'gateway'>,
  route: SavedRoute,
  { body = '{}', headers = {}, ...rest }: Call = {},
): Promise<Answer> {
  return call(setting, route.path, { ...rest, body, headers: { ...signed(route, body), ...headers } });
}

/** The refusal of a request, as code and message. */
export function refusalIn({ body }: Answer): [code: string, message: string] {
  const [error] = (body as { errors: { message: string; extensions: { code: string } }[] }).errors;
  return [error?.extensions.code ?? '', error?.message ?? ''];
}
