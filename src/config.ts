import { homedir } from 'node:os';
import { resolve } from 'node:path';
import { z } from 'zod';
import { StartupError } from './kernel/errors.ts';
import { logLevels } from './kernel/logger.ts';
import { findBadNetwork } from './kernel/networks.ts';

/**
 * Every option of Treeline, once: its environment variable, type, default and meaning. Nothing else reads
 * `process.env`, so this file is the whole truth about what an operator can set.
 */

const text = z.string().trim().min(1);
const wholeNumber = (min: number, max: number) =>
  z.coerce
    .number({ error: `expected a whole number from ${min} to ${max}` })
    .int({ error: `expected a whole number from ${min} to ${max}` })
    .min(min)
    .max(max);
const url = (...protocols: string[]) =>
  text.refine((value) => protocols.some((protocol) => value.startsWith(`${protocol}://`)), {
    error: `expected a URL that begins with ${protocols.map((protocol) => `${protocol}://`).join(' or ')}`,
  });
const list = text.transform((value) =>
  value
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== ''),
);

const badNetwork = (networks: unknown) => findBadNetwork(networks as string[]) ?? undefined;

const options = {
  HOST: text.default('127.0.0.1').describe('address to listen on'),
  PORT: wholeNumber(0, 65_535)
    .optional()
    .describe('port to listen on; 0 takes a free one; unset: 4000, or the next free port when that is taken'),
  DATABASE_URL: url('postgres', 'postgresql')
    .optional()
    .describe('PostgreSQL 15 or newer, as the role that owns the schema; unset: the embedded server'),
  DATABASE_RUNTIME_URL: url('postgres', 'postgresql')
    .optional()
    .describe('a login of its own for request work; unset: DATABASE_URL, taking on the role treeline_runtime'),
  DATABASE_LISTEN_URL: url('postgres', 'postgresql')
    .optional()
    .describe(
      'a direct connection, not through a pooler, to LISTEN and read the log as the owner; unset: DATABASE_URL',
    ),
  AUTH_JWKS_URL: url('http', 'https').optional().describe("an identity provider's key set: its JWTs are accepted"),
  AUTH_ISSUER: text.optional().describe('the issuer that JWTs must name; required with AUTH_JWKS_URL'),
  AUTH_AUDIENCE: text.optional().describe('the audience that JWTs must name; required with AUTH_JWKS_URL'),
  AUTH_DEFAULT_SCOPES: list
    .default([])
    .describe('scopes of a principal made at the first sight of a JWT, comma-separated'),
  TREELINE_URL: url('http', 'https').optional().describe('the gateway that the command line speaks to'),
  TREELINE_TOKEN: text.optional().describe('the token that the command line uses; unset: the local token'),
  TREELINE_HOST: text.optional().describe('the name under which the command line reports this machine'),
  TREELINE_DATA_DIR: text.default('.treeline').describe('folder of the embedded server, its token and its URL'),
  TREELINE_ADMIN_TOKEN: text
    .regex(/^tl_[A-Za-z0-9_-]{43}$/, { error: 'expected tl_ and 43 characters of base64url (32 random bytes)' })
    .optional()
    .describe('the first admin token, for scripted set-ups; unset: made at the first start'),
  TREELINE_POOL_SIZE: wholeNumber(1, 500).default(10).describe('database connections for request work'),
  TREELINE_STATEMENT_TIMEOUT_MS: wholeNumber(100, 600_000)
    .default(15_000)
    .describe('longest that one statement of a request may run'),
  TREELINE_MAX_BODY_BYTES: wholeNumber(1_000, 100_000_000)
    .default(10_000_000)
    .describe('largest request body, over HTTP and per WebSocket message'),
  TREELINE_MAX_IMPORT_BYTES: wholeNumber(1_000, 1_000_000_000_000)
    .default(2_000_000_000)
    .describe('largest file of changes to import, unpacked; it waits in the temporary folder meanwhile'),
  TREELINE_MAX_DEPTH: wholeNumber(3, 100).default(12).describe('deepest nesting of an operation'),
  TREELINE_MAX_COST: wholeNumber(100, 10_000_000)
    .default(50_000)
    .describe('largest cost of an operation: fields times the sizes of the lists around them'),
  TREELINE_MAX_ALIASES: wholeNumber(1, 10_000).default(50).describe('most aliases in an operation'),
  TREELINE_MAX_TOKENS: wholeNumber(100, 100_000).default(4_000).describe('most lexical tokens in a document'),
  TREELINE_ALLOWED_HOSTS: list.default([]).describe('Host headers to accept besides loopback, comma-separated'),
  TREELINE_ALLOWED_ORIGINS: list
    .default([])
    .describe("browser origins to accept besides the gateway's own, comma-separated"),
  TREELINE_MAINTENANCE: z.enum(['on', 'off']).default('on').describe('scheduled clean-up, one gateway at a time'),
  TREELINE_FEED_RETENTION_DAYS: wholeNumber(1, 3_650)
    .default(7)
    .describe('how long the log of changes is kept: older cursors are refused'),
  TREELINE_DISPATCH: z
    .enum(['on', 'off'])
    .default('on')
    .describe('whether this gateway runs triggers; off: others do, or `treeline dispatch`'),
  TREELINE_DISPATCH_LEASE_MS: wholeNumber(1_000, 600_000)
    .default(30_000)
    .describe('after how long without a sign of life what a dispatcher was at is begun again by others'),
  TREELINE_TRIGGER_MAX_DEPTH: wholeNumber(1, 100).default(8).describe('how many scripts may set off one another'),
  TREELINE_TRIGGER_RETRY_MAX_ATTEMPTS: wholeNumber(1, 100)
    .default(3)
    .describe('how often a new trigger tries before it leaves a dead letter, unless it says so itself'),
  TREELINE_TRIGGER_RETRY_BACKOFF: z
    .enum(['exponential', 'linear', 'constant'])
    .default('exponential')
    .describe('how the attempts of a new trigger are put off, unless it says so itself'),
  TREELINE_TRIGGER_RETRY_BASE_MS: wholeNumber(1, 3_600_000)
    .default(1_000)
    .describe('by how much the second attempt of a new trigger is put off, unless it says so itself'),
  TREELINE_WEBHOOK_ALLOW: list
    .default([])
    .refine((networks) => findBadNetwork(networks) === null, { error: ({ input }) => badNetwork(input) })
    .describe('networks (CIDR) that webhooks may reach although private, http included, comma-separated'),
  TREELINE_DEAD_LETTER_RETENTION_DAYS: wholeNumber(1, 3_650)
    .default(30)
    .describe('how long dead letters are kept once they are resolved; unresolved ones stay'),
  TREELINE_ABANDONED_EXECUTIONS_RETENTION_DAYS: wholeNumber(1, 3_650)
    .default(7)
    .describe('how long results are kept that nobody waited for any more'),
  TREELINE_EXECUTIONS_RETENTION_DAYS: wholeNumber(1, 3_650)
    .default(7)
    .describe('how long executions of scripts are kept'),
  TREELINE_STREAM_QUEUE: wholeNumber(10, 100_000)
    .default(1_000)
    .describe('updates that may wait for one subscriber before its stream ends with RESYNC_REQUIRED'),
  TREELINE_STREAM_BYTES: wholeNumber(1_000_000, 100_000_000_000)
    .default(256_000_000)
    .describe('what may wait for all subscribers together, in bytes, before the heaviest streams end'),
  TREELINE_STALL_MS: wholeNumber(100, 600_000)
    .default(30_000)
    .describe('how long a client may read nothing while updates wait before its connection is closed'),
  TREELINE_SHUTDOWN_MS: wholeNumber(0, 600_000)
    .default(10_000)
    .describe('how long requests in progress may take to finish at shutdown'),
  TREELINE_LOG: z.enum(logLevels).default('info').describe('least level to log'),
} as const;

const schema = z.object(options);

export type Config = Readonly<z.output<typeof schema>>;

/** One line per option, for `--help` and the docs. */
export const optionDocs: readonly { name: string; description: string }[] = Object.entries(options).map(
  ([name, type]) => ({ name, description: type.description ?? '' }),
);

/**
 * Reads the environment. An empty variable counts as unset, as shells make it easy to set one to nothing.
 * @throws StartupError that names every bad variable, what it holds wrong and what was expected
 */
export function readConfig(environment: NodeJS.ProcessEnv = process.env): Config {
  const given = Object.fromEntries(
    Object.keys(options).flatMap((name) => {
      const value = environment[name];
      return value === undefined || value.trim() === '' ? [] : [[name, value]];
    }),
  );
  const parsed = schema.safeParse(given);
  if (!parsed.success) {
    const lines = parsed.error.issues.map((issue) => `  ${issue.path.join('.')}: ${issue.message}`);
    throw new StartupError(`These settings cannot be used:\n${lines.join('\n')}`);
  }
  const config = parsed.data;
  if (config.AUTH_JWKS_URL !== undefined && (config.AUTH_ISSUER === undefined || config.AUTH_AUDIENCE === undefined)) {
    throw new StartupError(
      'AUTH_JWKS_URL needs AUTH_ISSUER and AUTH_AUDIENCE, or any token of that provider would do.',
    );
  }
  return { ...config, TREELINE_DATA_DIR: resolve(expandHome(config.TREELINE_DATA_DIR)) };
}

function expandHome(path: string): string {
  return path === '~' || path.startsWith('~/') ? homedir() + path.slice(1) : path;
}
