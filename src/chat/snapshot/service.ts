import { sql } from 'kysely';
import pg from 'pg';
import type { RequestContext } from '../../auth/context.ts';
import { documentFault } from '../../db/refusals.ts';
import { findUnstorable } from '../../db/storable.ts';
import { Refusal } from '../../kernel/errors.ts';
import { type ProjectReference, requireKey } from '../../registry/project/model.ts';
import { callChat, projectArgument } from '../call.ts';
import { mostInlineBytes, type NewSnapshot, type SnapshotRow } from './model.ts';
import { readDocument } from './store.ts';

/**
 * Puts a snapshot in the place of the one before.
 * @throws Refusal NOT_FOUND, FORBIDDEN, INVALID, PAYLOAD_TOO_LARGE
 */
export async function putSnapshot(
  context: RequestContext,
  reference: ProjectReference,
  { files, summary }: NewSnapshot,
): Promise<SnapshotRow> {
  for (const [part, value] of Object.entries({ files, summary })) {
    const found = findUnstorable(value);
    if (found === null) continue;
    const where = [part, ...found.path].join('.');
    throw new Refusal('INVALID', `${where} ${found.problem}.`, {
      path: ['input', part],
      details: { path: found.path },
    });
  }
  const text = JSON.stringify(files);
  const bytes = Buffer.byteLength(text);
  if (bytes > mostInlineBytes) {
    throw new Refusal(
      'PAYLOAD_TOO_LARGE',
      `Expected files of at most ${mostInlineBytes} bytes as JSON, got ${bytes}: larger ones go to PUT /projects/<id>/snapshot.`,
      { path: ['input', 'files'], details: { limit: mostInlineBytes } },
    );
  }
  return callChat(
    context,
    sql`(select found.id as project_id, ${summary ?? null}::text as summary, put.bytes, put.created_at, put.updated_at
      from (select ${projectArgument(reference)} as id offset 0) as found
      cross join lateral chat.put_project_snapshot(found.id, ${text}::jsonb, ${summary ?? null}) as put) as snapshot`,
  );
}

export type PutDocument = Pick<SnapshotRow, 'bytes' | 'created_at' | 'updated_at'>;

/**
 * Whether the viewer may do what these roles may, before anything is read or written.
 * @param projectId an id of this API, or a UUID
 * @returns the project's key
 * @throws Refusal NOT_FOUND, FORBIDDEN
 */
export async function requireSnapshotRole(
  context: RequestContext,
  projectId: string,
  roles: readonly string[],
): Promise<string> {
  const key = requireKey('Project', 'project', projectId);
  await callChat(context, sql`chat.require_role(${key}::uuid, ${roles}::text[]) as required`);
  return key;
}

/**
 * Puts a document {"files", "summary"?} in the place of the snapshot. It goes to the database as it came: nothing here makes
 * text of it, or values.
 * @throws Refusal INVALID for what is no such document
 */
export async function putSnapshotDocument(
  context: RequestContext,
  key: string,
  chunks: readonly Buffer[],
): Promise<PutDocument> {
  // The binary form of jsonb: a version, then the text.
  const document = Buffer.concat([Buffer.of(1), ...chunks]);
  try {
    return await callChat<PutDocument>(context, sql`chat.put_snapshot_document(${key}::uuid, ${document}::jsonb)`);
  } catch (error) {
    throw notStorable(error) ?? error;
  }
}

/** What PostgreSQL found wrong with a document, and where. */
function notStorable(error: unknown): Refusal | null {
  const found = error instanceof Refusal ? error.cause : error;
  if (!(found instanceof pg.DatabaseError)) return null;
  const line = /JSON data, line \d+/.exec(found.where ?? '')?.[0];
  const reason = [found.message, found.detail, line].filter((part) => part !== undefined).join('; ');
  const fault = documentFault(found);
  if (fault === 'not JSON') {
    return new Refusal('INVALID', `The document is no JSON that can be stored: ${reason}.`, { cause: found });
  }
  if (fault === 'too large') {
    return new Refusal('PAYLOAD_TOO_LARGE', `Stored, the document is larger than can be: ${reason}.`, { cause: found });
  }
  return null;
}

/**
 * The snapshot as a document, in pieces.
 * @throws Refusal NOT_FOUND also when there is no snapshot
 */
export async function getSnapshotDocument(context: RequestContext, key: string): Promise<string[]> {
  const pieces = await readDocument(context, key);
  if (pieces.length === 0) throw new Refusal('NOT_FOUND', 'The project has no snapshot yet.');
  return pieces;
}
