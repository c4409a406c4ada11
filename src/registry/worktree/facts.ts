import type { FeedEvent } from '../../feed/event.ts';
import type { WorktreeFilter, WorktreeRow } from './model.ts';

/** A worktree's state as its events give it. */
export interface Facts {
  project_id: string;
  in_flight: boolean;
  status: WorktreeRow['status'];
  agent_id: string | null;
  agent_state: WorktreeRow['agent_state'];
}

/** What an event of a worktree or a claim says of its state, and of which version of the row. */
export function factsOf(event: FeedEvent): { before?: Facts; after?: Facts; version?: number } {
  return event.data as never;
}

/** Whether a state fits as much of a filter as facts can tell. */
export function fits(state: Facts, filter: WorktreeFilter): boolean {
  return (
    state.in_flight &&
    (filter.project?.id == null || filter.project.id === state.project_id) &&
    filter.active !== false &&
    (filter.status == null || filter.status.includes(state.status)) &&
    (filter.agentId == null || filter.agentId === state.agent_id) &&
    (filter.agentState == null || filter.agentState.includes(state.agent_state))
  );
}

/** Whether facts decide all of a filter. */
export function factsSuffice({ host, type, claimed, staleForMinutes, metadata }: WorktreeFilter): boolean {
  return [host, type, claimed, staleForMinutes, metadata].every((part) => part == null);
}

/** The states that an event stands for besides the one that it ends with. */
export function statesBetween(event: FeedEvent): readonly Facts[] {
  return (event.between ?? []) as unknown as readonly Facts[];
}

export function firstPageOf(event: FeedEvent): number {
  return event.firstPage ?? event.page;
}

/** Filters name hosts and types, and names change. */
export function isRenaming({ topic }: FeedEvent): boolean {
  return topic === 'hosts' || topic === 'worktree_types';
}
