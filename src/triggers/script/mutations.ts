import { builder } from '../../graphql/builder.ts';
import { addMutation } from '../../graphql/payload.ts';
import { Refusal } from '../../kernel/errors.ts';
import type { Json } from '../../kernel/json.ts';
import { ProjectRefInput } from '../../registry/project/graphql.ts';
import { requireKeyAt } from '../call.ts';
import { Execution, executionLoader } from '../execution/graphql.ts';
import type { ExecutionRow } from '../execution/model.ts';
import { Script, scriptLoader } from './graphql.ts';
import { invokeScript, type Reply } from './invoke.ts';
import type { ScriptRow } from './model.ts';
import { deleteScript, type NewScript, type OperationScript, saveScript, type WebhookScript } from './service.ts';

const OperationScriptInput = builder.inputRef<OperationScript>('OperationScriptInput').implement({
  description: 'A stored operation.',
  fields: (t) => ({
    document: t.string({
      required: true,
      description: 'One query or mutation of this API, checked when it is saved; at most 100,000 bytes.',
    }),
    variables: t.field({
      type: 'JSON',
      description:
        'Its variables, as a template: an object in which each string that begins with `=` is a JSONata expression over the event, such as `"=data.after.status"`. What yields nothing is left out.',
    }),
  }),
});

const WebhookScriptInput = builder.inputRef<WebhookScript>('WebhookScriptInput').implement({
  description: 'A signed request to somebody else.',
  fields: (t) => ({
    url: t.string({
      required: true,
      description: 'Where to: a public address over https; others only where an operator allows their network.',
    }),
    secret: t.string({
      description:
        'What requests are signed with: `whsec_` and 24 to 64 bytes in base64. Left out: one is made, or the one that it has stays.',
    }),
    headers: t.field({
      type: 'JSON',
      description: 'Further headers, as an object of strings; never shown again. Left out: those that it has stay.',
    }),
    body: t.field({
      type: 'JSON',
      description: 'The body, as a template like the variables of an operation. Left out: the event itself.',
    }),
  }),
});

addMutation<NewScript, { script: ScriptRow | null; secret: string | null }>({
  name: 'saveScript',
  description:
    'Makes a script, or changes one that the caller saved. It runs as the caller, with no more scopes than this token has. In a project it needs an owner of it, for the whole registry the scope admin. Scope triggers:admin.',
  input: builder.inputRef<NewScript>('SaveScriptInput').implement({
    description: 'A script: what it does is exactly one of operation and webhook.',
    fields: (t) => ({
      id: t.id({ description: 'Which one to change; left out: a new one.' }),
      project: t.field({
        type: ProjectRefInput,
        description: 'Of which project; left out: of the whole registry, or where it is. It stays where it was made.',
      }),
      name: t.string({ required: true, description: 'Unique within the project or the whole registry.' }),
      operation: t.field({ type: OperationScriptInput, description: 'The operation to run.' }),
      webhook: t.field({ type: WebhookScriptInput, description: 'The webhook to send.' }),
      timeoutMs: t.int({ defaultValue: 10_000, description: 'How long an attempt may take: 100 to 300,000 ms.' }),
    }),
  }),
  fields: (t) => ({
    script: t.field({ type: Script, nullable: true, description: 'The script.', resolve: (outcome) => outcome.script }),
    secret: t.string({
      nullable: true,
      description: 'The secret of a webhook, where one was made: it is not shown again.',
      resolve: (outcome) => outcome.secret,
    }),
  }),
  resolve: async (input, context) => {
    const { id, secret } = await saveScript(context, input);
    return { script: await scriptLoader(context).load(id), secret };
  },
});

addMutation<{ id: string }, { script: ScriptRow | null }>({
  name: 'deleteScript',
  description:
    'Deletes a script that no trigger and no route runs: else IN_USE. What waits for it becomes dead letters. Scope triggers:admin.',
  input: builder.inputRef<{ id: string }>('DeleteScriptInput').implement({
    description: 'Which script to delete.',
    fields: (t) => ({ id: t.id({ required: true, description: 'Which one.' }) }),
  }),
  fields: (t) => ({
    script: t.field({
      type: Script,
      nullable: true,
      description: 'The script; executions and dead letters go on telling of it.',
      resolve: (outcome) => outcome.script,
    }),
  }),
  resolve: async ({ id }, context) => ({ script: await scriptLoader(context).load(await deleteScript(context, id)) }),
});

interface Invocation {
  script: string;
  input?: Json | undefined;
  timeoutMs?: number | null | undefined;
}

interface Invoked {
  result: unknown;
  execution: ExecutionRow | null;
}

const longestWaitMs = 300_000;

addMutation<Invocation, Invoked>({
  name: 'invokeScript',
  description:
    'Runs a script once, as who saved it, and waits for the result. A script that fails answers its execution and a user error CONFLICT that says why; TIMED_OUT when no result came in time: one that comes later is in `abandonedExecutions`. Scope triggers:admin.',
  input: builder.inputRef<Invocation>('InvokeScriptInput').implement({
    description: 'Which script, and with what.',
    fields: (t) => ({
      script: t.id({ required: true, description: 'Which one.' }),
      input: t.field({ type: 'JSON', description: "The event's `input`, for its template." }),
      timeoutMs: t.int({ defaultValue: 10_000, description: 'How long to wait: 1 to 300,000 ms.' }),
    }),
  }),
  fields: (t) => ({
    result: t.field({
      type: 'JSON',
      nullable: true,
      description: 'What came back: the data of an operation, the answer to a webhook.',
      resolve: (outcome) => outcome.result ?? null,
    }),
    execution: t.field({
      type: Execution,
      nullable: true,
      description: 'The attempt; null when none ended in time.',
      resolve: (outcome) => outcome.execution,
    }),
  }),
  resolve: async ({ script, input, timeoutMs: given }, context) => {
    const timeoutMs = given ?? 10_000;
    if (timeoutMs < 1 || timeoutMs > longestWaitMs) {
      const message = `Expected timeoutMs from 1 to ${longestWaitMs.toLocaleString('en')}, got ${timeoutMs}.`;
      throw new Refusal('INVALID', message, { path: ['input', 'timeoutMs'] });
    }
    const scriptId = requireKeyAt(['input', 'script'], 'Script', script);
    const reply = await invokeScript(context, { scriptId, input, timeoutMs });
    const execution = await executionLoader(context).load(reply.executionId);
    if (reply.status === 'succeeded') return { result: reply.result, execution };
    return { result: null, execution, userErrors: [failureOf(reply)] };
  },
});

function failureOf({ status, error }: Reply) {
  const message = `The script ran, and did not succeed: ${error ?? status}`;
  return {
    code: status === 'timed_out' ? ('TIMED_OUT' as const) : ('CONFLICT' as const),
    message,
    path: ['input', 'script'],
  };
}
