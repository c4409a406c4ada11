import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll } from 'vitest';
import { startGateway, type TestGateway } from '../../support/gateway.ts';
import { makePerson, makeProject, type Person } from '../../support/people.ts';
import { rows, value } from '../../support/sql.ts';

export const manager = ['REGISTRY_READ', 'REGISTRY_WRITE', 'TRIGGERS_ADMIN'];

/** A gateway of the file that asks, on which people register things; it runs nothing by itself unless it is told to. */
export interface Setting {
  gateway: TestGateway;
  /** Owns the project. */
  grace: Person;
  /** Owns nothing. */
  mallory: Person;
  /** Of grace, by its slug `hopper`. */
  projectId: string;
}

export function triggersGateway(environment: Record<string, string> = { TREELINE_DISPATCH: 'off' }): Setting {
  let made: Setting | undefined;
  beforeAll(async () => {
    const gateway = await startGateway({ environment: { TREELINE_DISPATCH: 'on', ...environment } });
    const [grace, mallory] = [
      await makePerson(gateway, 'grace', manager),
      await makePerson(gateway, 'mallory', manager),
    ];
    made = { gateway, grace, mallory, projectId: await makeProject(gateway, 'hopper', grace) };
  });
  afterAll(() => made?.gateway.close());
  const get = (): Setting => {
    if (made === undefined) throw new Error('the gateway is not started yet');
    return made;
  };
  return {
    get gateway() {
      return get().gateway;
    },
    get grace() {
      return get().grace;
    },
    get mallory() {
      return get().mallory;
    },
    get projectId() {
      return get().projectId;
    },
  };
}

export interface UserError {
  code: string;
  message: string;
  path: string[];
  details: Record<string, unknown> | null;
}

export type Payload<Fields = object> = Fields & { userErrors: UserError[]; cursor: string | null };

/** A mutation of one input as somebody; an administrator without a person. */
export async function mutate<Fields = object>(
  { gateway }: Pick<Setting, 'gateway'>,
  name: string,
  selection: string,
  input: Record<string, unknown>,
  person?: Pick<Person, 'token'>,
): Promise<Payload<Fields>> {
  const type = `${name[0]?.toUpperCase()}${name.slice(1)}Input`;
  const answer = await gateway.ask<Record<string, never>>(
    `mutation ($input: ${type}!) { ${name}(input: $input) { ${selection} cursor userErrors { code message path details } } }`,
    { input },
    { token: person?.token ?? gateway.token },
  );
  return answer[name] as never;
}

/** What came of a mutation that must not be refused. */
export async function done<Fields>(answer: Promise<Payload<Fields>>): Promise<Fields> {
  const { userErrors, ...fields } = await answer;
  if (userErrors.length > 0) throw new Error(`refused: ${JSON.stringify(userErrors)}`);
  return fields as Fields;
}

/** The refusals of a mutation, as code and path. */
export async function refused(answer: Promise<Payload>): Promise<[string, string][]> {
  return (await answer).userErrors.map(({ code, path }) => [code, path.join('.')]);
}

export const operation = { document: 'query Now { cursor }' };
export const webhook = { url: 'https://receiver.example/hook' };

/** A script of grace's project, unless it says otherwise; @returns its id */
export async function saveScript(setting: Setting, input: Record<string, unknown> = {}): Promise<string> {
  const given = { project: { id: setting.projectId }, name: randomUUID(), operation, ...input };
  const saving = mutate<{ script: { id: string } }>(setting, 'saveScript', 'script { id }', given, setting.grace);
  return (await done(saving)).script.id;
}

/** A trigger of grace's project that all changes of worktrees set off, unless it says otherwise; @returns its id */
export async function createTrigger(setting: Setting, input: Record<string, unknown> = {}): Promise<string> {
  const given = {
    project: { id: setting.projectId },
    script: input.script ?? (await saveScript(setting)),
    spec: { kv: { collectionGlob: 'worktrees' } },
    ...input,
  };
  const creating = mutate<{ trigger: { id: string } }>(
    setting,
    'createTrigger',
    'trigger { id }',
    given,
    setting.grace,
  );
  return (await done(creating)).trigger.id;
}

/** The key in an id of the API. */
export const keyIn = (id: string): string => Buffer.from(id, 'base64url').toString().split(':')[1] ?? '';

export const idOf = (type: string, key: string): string => Buffer.from(`${type}:${key}`).toString('base64url');

export interface SetOff {
  trigger?: string;
  source?: string;
  payload?: unknown;
  projectId?: string | null;
  /** As whom it runs: the key. */
  principalId?: string;
  depth?: number;
}

/** Puts a row into the outbox as what sets a script off does, of grace's unless it says otherwise; @returns its key */
export function setOff(setting: Setting, script: string, more: SetOff = {}): Promise<string> {
  const { source = 'kv', trigger, payload = { type: 'worktrees.update' }, depth = 0 } = more;
  const { projectId = setting.projectId, principalId = setting.grace.uuid } = more;
  return value<string>(
    setting.gateway.database.owner,
    `insert into triggers.outbox (project_id, source_kind, trigger_id, script_id, principal_id, scopes, payload, lane,
       retry_max_attempts, retry_backoff, retry_base_ms, depth)
     values ($1, $2, $3, $4, $5, '{triggers:admin}', $6, 'operation', 3, 'constant', 60000, $7) returning id`,
    [
      projectId,
      source,
      trigger === undefined ? null : keyIn(trigger),
      keyIn(script),
      principalId,
      JSON.stringify(payload),
      depth,
    ],
  );
}

export interface Ending {
  status?: 'succeeded' | 'failed' | 'timed_out';
  result?: unknown;
  error?: string;
  permanent?: boolean;
}

/** Begins all that is due, as a dispatcher does. */
export function claim({ gateway }: Setting): Promise<{ id: string; execution_id: string }[]> {
  return rows(
    gateway.database.owner,
    `select c.id, c.execution_id from triggers.claim('worker', 60000, array(
      select row(lane, 1000, 1000, '{}')::triggers.room from unnest('{operation,webhook,reply,nested}'::text[]) lane
    ), 16000000) c`,
  );
}

/** Begins and ends all that is due; @returns the keys of the executions */
export async function run(setting: Setting, ending: Ending = {}): Promise<string[]> {
  const claimed = await claim(setting);
  const results = claimed.map((row) => ({
    ...row,
    status: 'succeeded',
    result: null,
    error: null,
    permanent: false,
    ...ending,
  }));
  const { owner } = setting.gateway.database;
  await owner.query(`select from triggers.finish('worker', $1)`, [JSON.stringify(results)]);
  // As dispatchers ring: who watches need not wait for the next look.
  await owner.query(`select pg_notify('treeline_feed', '')`);
  return claimed.map((row) => row.execution_id);
}

/** Makes a dead letter of a script of grace's; @returns its id */
export async function bury(setting: Setting, script: string, more: SetOff = {}): Promise<string> {
  const before = new Date();
  await setOff(setting, script, more);
  await run(setting, { status: 'failed', error: 'It broke.', permanent: true });
  const key = await value<string>(
    setting.gateway.database.owner,
    'select id from triggers.dead_letters where script_id = $1 and created_at >= $2 order by created_at desc limit 1',
    [keyIn(script), new Date(before.getTime() - 1)],
  );
  return idOf('DeadLetter', key);
}

/** How many statements something sends besides finding out who asks, once all is warm. */
export async function statementsOf({ takeStatements }: TestGateway, act: () => Promise<unknown>): Promise<number> {
  await act();
  takeStatements();
  await act();
  return takeStatements().filter(({ query: { sql } }) => !/auth\.(authenticate|touch_token)/.test(sql)).length;
}
