import type { Viewer } from '../auth/context.ts';
import { Refusal } from '../kernel/errors.ts';

/**
 * The agent on whose behalf the viewer acts. Users and services may name any; an agent is only ever itself.
 * @throws Refusal FORBIDDEN when an agent names another
 */
export function actingAgent(viewer: Viewer, agentId: string): string;
export function actingAgent(viewer: Viewer, agentId: string | null | undefined): string | null;
export function actingAgent(viewer: Viewer, agentId: string | null | undefined): string | null {
  if (agentId != null && viewer.kind === 'agent' && agentId !== viewer.handle) {
    throw new Refusal('FORBIDDEN', `An agent acts as itself: expected agentId ${viewer.handle}, got ${agentId}.`, {
      path: ['input', 'agentId'],
    });
  }
  return agentId ?? null;
}
