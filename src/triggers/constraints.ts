import type { ConstraintMeaning } from '../db/refusals.ts';

const collections = 'projects, worktrees, claims, activities, messages, snapshots and mirror';

const retries = {
  retry_max_attempts_check: {
    code: 'INVALID',
    field: 'retryMaxAttempts',
    message: 'Expected retryMaxAttempts from 1 to 100.',
  },
  retry_base_ms_check: {
    code: 'INVALID',
    field: 'retryBaseMs',
    message: 'Expected retryBaseMs from 1 to 3,600,000 (an hour).',
  },
} as const satisfies Record<string, ConstraintMeaning>;

/** While it was written to. */
const projectGone: ConstraintMeaning = { code: 'NOT_FOUND', field: 'project', message: 'This project was deleted.' };
const scriptGone: ConstraintMeaning = { code: 'NOT_FOUND', field: 'script', message: 'This script was deleted.' };

/** The constraints of triggers as their violation reads to the caller; a field within a field stands after a full stop. */
export const triggersConstraints: Readonly<Record<string, ConstraintMeaning>> = {
  scripts_name_key: {
    code: 'CONFLICT',
    field: 'name',
    message: 'Another script of this project (or of the whole registry) has this name: choose another.',
  },
  scripts_name_check: { code: 'INVALID', field: 'name', message: 'Expected a name of 1 to 200 characters.' },
  scripts_document_check: {
    code: 'INVALID',
    field: 'operation.document',
    message: 'Expected a document of at most 100,000 bytes.',
  },
  scripts_variables_check: {
    code: 'INVALID',
    message: 'Expected a template (variables, or the body of a webhook) of at most 100,000 bytes as JSON.',
  },
  scripts_url_check: {
    code: 'INVALID',
    field: 'webhook.url',
    message: 'Expected a URL of at most 2,000 bytes that begins with https:// or http://.',
  },
  scripts_headers_check: {
    code: 'INVALID',
    field: 'webhook.headers',
    message: 'Expected headers as a JSON object of at most 20,000 bytes.',
  },
  scripts_timeout_ms_check: {
    code: 'INVALID',
    field: 'timeoutMs',
    message: 'Expected timeoutMs from 100 to 300,000 (five minutes).',
  },
  scripts_project_id_fkey: projectGone,
  triggers_project_id_fkey: projectGone,
  routes_project_id_fkey: projectGone,
  triggers_script_id_fkey: scriptGone,
  routes_script_id_fkey: scriptGone,
  triggers_condition_check: {
    code: 'INVALID',
    field: 'condition',
    message: 'Expected a condition of at most 10,000 bytes.',
  },
  triggers_retry_max_attempts_check: retries.retry_max_attempts_check,
  triggers_retry_base_ms_check: retries.retry_base_ms_check,
  kv_trigger_details_collection_glob_check: {
    code: 'INVALID',
    field: 'spec.kv.collectionGlob',
    message: `Nothing would ever match: expected *, one of the collections ${collections}, sync:<app>:<table>, or prefix:* such as sync:* and sync:<app>:*.`,
  },
  cron_trigger_details_expression_check: {
    code: 'INVALID',
    field: 'spec.cron.expression',
    message: 'Expected a cron expression of 1 to 200 characters.',
  },
  cron_trigger_details_timezone_check: {
    code: 'INVALID',
    field: 'spec.cron.timezone',
    message: 'Expected a time zone of 1 to 100 characters, such as Europe/Berlin.',
  },
  routes_method_path_key: {
    code: 'CONFLICT',
    field: 'path',
    message: 'Another route has this method and path: choose another path.',
  },
  routes_method_check: {
    code: 'INVALID',
    field: 'method',
    message: 'Expected the method GET, POST, PUT, PATCH or DELETE.',
  },
  routes_path_check: {
    code: 'INVALID',
    field: 'path',
    message:
      'Expected a path such as /hooks/github/push: parts of letters, digits, dots, hyphens, underscores and tildes, 200 characters at most.',
  },
  // Its secret was looked at, and found not to be needed, before somebody else changed how it is signed.
  routes_secret_check: { code: 'CONFLICT', field: 'signature', message: 'The route was changed meanwhile: try again.' },
};
