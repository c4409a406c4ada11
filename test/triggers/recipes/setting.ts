import { afterAll, beforeAll } from 'vitest';
import { startGateway, type TestGateway } from '../../support/gateway.ts';
import { value } from '../../support/sql.ts';
import type { Manual } from './document.ts';

/** A gateway of the test file's own, which is there once the tests run. Webhooks may go to receivers on this machine. */
export let gateway: TestGateway;
beforeAll(async () => {
  gateway = await startGateway({ environment: { TREELINE_DISPATCH: 'on', TREELINE_WEBHOOK_ALLOW: '127.0.0.0/8' } });
});
afterAll(() => gateway.close());

export const sql = <T>(text: string, values: unknown[] = []) => value<T>(gateway.database.owner, text, values);

export const project = (name: string, remote: string | null) =>
  sql<string>('select registry.register_project($1, $2)', [name, remote]);

export const worktree = (projectId: string, branch: string, host = 'local') =>
  sql<string>(`select registry.register_worktree($1, 'feat', $2, $3, $4, p_host => $5)`, [
    projectId,
    branch.replaceAll('/', '-'),
    branch,
    `/srv/${projectId}/${branch}`,
    host,
  ]);

/** An update of `finished`. */
export interface Finished {
  execution: { status: string; error: string | null; result: unknown };
}
export const finished = `subscription ($script: ID) {
  executionFinished(script: $script) { execution { status error result } }
}`;

/** Runs the step that saves a script; @returns its id */
export async function saved(recipe: Manual, name = 'SaveScript'): Promise<string> {
  const { saveScript } = await recipe.run<{ saveScript: { script: { id: string } } }>(gateway, name);
  return saveScript.script.id;
}
