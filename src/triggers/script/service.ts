import type { RequestContext } from '../../auth/context.ts';
import { Refusal } from '../../kernel/errors.ts';
import type { Json } from '../../kernel/json.ts';
import type { ProjectReference } from '../../registry/project/model.ts';
import { requireKeyAt } from '../call.ts';
import { checkSecret, makeSecret } from '../secret.ts';
import { checkHeaders, checkUrl } from '../webhook/webhook.ts';
import * as store from './store.ts';

export interface OperationScript {
  document: string;
  /** A template. */
  variables?: Json | undefined;
}

export interface WebhookScript {
  url: string;
  secret?: string | null | undefined;
  headers?: Json | undefined;
  /** A template; the event itself when left out. */
  body?: Json | undefined;
}

export interface NewScript {
  /** Left out: a new one. */
  id?: string | null | undefined;
  project?: ProjectReference | null | undefined;
  name: string;
  operation?: OperationScript | null | undefined;
  webhook?: WebhookScript | null | undefined;
  timeoutMs?: number | null | undefined;
}

const usualTimeoutMs = 10_000;

/**
 * Makes a script, or changes one's own: all of it but its secret and headers, which stay when they are left out.
 * @returns its key, and the secret if it was made here: it is shown once
 * @throws Refusal, or several as an AggregateError: each at its place
 */
export async function saveScript(
  context: RequestContext,
  input: NewScript,
): Promise<{ id: string; secret: string | null }> {
  const { operation, webhook } = input;
  const id = input.id == null ? null : requireKeyAt(['input', 'id'], 'Script', input.id);
  if ((operation == null) === (webhook == null)) {
    const came = operation == null ? 'neither' : 'both';
    throw new Refusal('INVALID', `Expected operation or webhook, got ${came}: a script is one of the two.`);
  }
  const secret = webhook != null && webhook.secret == null && id === null ? makeSecret() : null;
  const mistakes = await (operation != null
    ? mistakesInOperation(context, operation)
    : mistakesInWebhook(context, webhook));
  if (mistakes.length > 0) throw new AggregateError(mistakes);
  const columns = {
    name: input.name,
    timeout_ms: input.timeoutMs ?? usualTimeoutMs,
    ...(operation != null
      ? { kind: 'operation', document: operation.document, variables: operation.variables }
      : {
          kind: 'webhook',
          url: webhook?.url,
          secret: webhook?.secret ?? secret,
          headers: webhook?.headers,
          variables: webhook?.body,
        }),
  };
  return { id: await store.saveScript(context, id, { columns, project: input.project }), secret };
}

async function mistakesInOperation(
  context: RequestContext,
  { document, variables }: OperationScript,
): Promise<Refusal[]> {
  const path = ['input', 'operation'];
  const ofDocument = context.triggers.checkDocument(document);
  return [
    ...refusals(ofDocument, [...path, 'document']),
    ...(mayBeObject(variables)
      ? await mistakesInTemplate(context, variables, [...path, 'variables'])
      : refusals('Expected variables as an object by name, or an expression that yields one.', [...path, 'variables'])),
  ];
}

/** An expression may yield anything; that is found out when it is run. */
function mayBeObject(template: Json | undefined): boolean {
  if (template == null || (typeof template === 'string' && template.startsWith('='))) return true;
  return typeof template === 'object' && !Array.isArray(template);
}

async function mistakesInWebhook(
  context: RequestContext,
  webhook: WebhookScript | null | undefined,
): Promise<Refusal[]> {
  if (webhook == null) return [];
  const { url, secret, headers, body } = webhook;
  const path = ['input', 'webhook'];
  return [
    ...refusals(checkUrl(url), [...path, 'url']),
    ...refusals(secret == null ? null : checkSecret(secret, 'standard'), [...path, 'secret']),
    ...refusals(headers == null ? null : checkHeaders(headers), [...path, 'headers']),
    ...(await mistakesInTemplate(context, body, [...path, 'body'])),
  ];
}

async function mistakesInTemplate(
  { triggers }: RequestContext,
  template: Json | undefined,
  path: readonly string[],
): Promise<Refusal[]> {
  if (template == null) return [];
  const problems = await triggers.checks.template(template);
  return problems.flatMap((problem) => refusals(problem.message, [...path, ...problem.path]));
}

function refusals(problem: string | null, path: readonly string[]): Refusal[] {
  return problem === null ? [] : [new Refusal('INVALID', problem, { path })];
}

/** @throws Refusal IN_USE while triggers or routes run it */
export async function deleteScript(context: RequestContext, id: string): Promise<string> {
  const key = requireKeyAt(['input', 'id'], 'Script', id);
  await store.deleteScript(context, key);
  return key;
}
