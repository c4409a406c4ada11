import type { RequestContext, Viewer } from '../context.ts';
import { requirePrincipalKey } from '../principal/service.ts';
import * as store from './store.ts';

/**
 * Makes or renames a space.
 * @returns the space, and the viewer as a member of it: the one that was authenticated knows nothing of a new space yet
 */
export async function saveSpace(
  context: RequestContext,
  id: string,
  name: string,
): Promise<{ space: store.SpaceRow; viewer: Viewer }> {
  const space = await store.saveSpace(context, id, name);
  context.sessions.forgetPrincipal(context.viewer.principalId);
  const spaceIds = [...new Set([...context.viewer.spaceIds, space.id])];
  return { space, viewer: { ...context.viewer, spaceIds } };
}

/** A null role takes the principal out of the space. */
export async function setSpaceMember(
  context: RequestContext,
  input: { space: string; principal: string; role?: string | null | undefined },
): Promise<store.SpaceRow> {
  const principalId = requirePrincipalKey(input.principal);
  const space = await store.setSpaceMember(context, { space: input.space, principalId, role: input.role ?? null });
  context.sessions.forgetPrincipal(principalId);
  return space;
}
