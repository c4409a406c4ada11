import { sql } from 'kysely';
import { callAuth } from '../call.ts';
import type { RequestContext } from '../context.ts';

/** A group of principals that share rows of offline clients. */
export interface SpaceRow {
  id: string;
  name: string;
}

export interface SpaceMemberRow {
  space_id: string;
  principal_id: string;
  role: 'owner' | 'editor' | 'viewer';
}

/** The viewer's own spaces: row-level security shows no others. */
export function listSpaces(context: RequestContext): Promise<SpaceRow[]> {
  return callAuth(context, sql`(select s.id, s.name from auth.spaces s order by s.id) as space`);
}

export function listSpaceMembers(context: RequestContext, spaceIds: readonly string[]): Promise<SpaceMemberRow[]> {
  return callAuth(
    context,
    sql`(select m.space_id, m.principal_id, m.role from auth.space_members m
      where m.space_id = any(${spaceIds}::text[]) order by m.space_id, m.created_at, m.principal_id) as member`,
  );
}

export async function saveSpace(context: RequestContext, id: string, name: string): Promise<SpaceRow> {
  return one(await callAuth<SpaceRow>(context, sql`(select id, name from auth.save_space(${id}, ${name})) as space`));
}

export async function setSpaceMember(
  context: RequestContext,
  member: { space: string; principalId: string; role: string | null },
): Promise<SpaceRow> {
  return one(
    await callAuth<SpaceRow>(
      context,
      sql`(select id, name from auth.set_space_member(${member.space}, ${member.principalId}::uuid, ${member.role})) as space`,
    ),
  );
}

function one(rows: readonly SpaceRow[]): SpaceRow {
  const [space] = rows;
  if (space === undefined) throw new Error('a function of the schema auth answered no row');
  return space;
}
