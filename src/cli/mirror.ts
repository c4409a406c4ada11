import type { Client } from '../client/client.ts';
import { graphql } from '../client/generated/gql.ts';
import type {
  MirrorDirection,
  MirrorStateQuery,
  ReconcileMirrorInput,
  ReconcileMirrorMutation,
} from '../client/generated/graphql.ts';
import { StartupError } from '../kernel/errors.ts';
import { printable, table } from './table.ts';

const stateDocument = graphql(`
  query MirrorState($first: Int!) {
    mirrorStatus {
      attached
      problems { problem statement }
      projectCount
      rowCount
      unclassifiedCount
    }
    mirrorDrift(first: $first) {
      project { slug }
      maiId
      field
      ours
      theirs
    }
  }
`);

const statusDocument = graphql(`
  query MirrorStatus {
    mirrorStatus {
      attached
      problems { problem statement }
      projectCount
      rowCount
    }
  }
`);

const reconcileDocument = graphql(`
  mutation ReconcileMirror($input: ReconcileMirrorInput!) {
    reconcileMirror(input: $input) {
      changedCount
      examinedCount
      hasMore
      endCursor
      userErrors { message }
    }
  }
`);

const projectDocument = graphql(`
  query MirroredProject($slug: String!) {
    project(by: { slug: $slug }) { id }
  }
`);

/** How many differences a terminal is shown. */
const shownDrift = 20;

export interface MirrorReport {
  text: string;
  /** It works, and both sides say the same. */
  healthy: boolean;
}

/** Whether the mirror works, and where the two sides differ. */
export async function mirrorStatus(client: Client): Promise<MirrorReport> {
  const { mirrorStatus: status } = await client.request(statusDocument);
  if (!status.attached || status.problems.length > 0) return { text: offText(status.problems), healthy: false };
  const state = await client.request(stateDocument, { first: shownDrift + 1 });
  return { text: `${countsText(state)}\n${driftText(state.mirrorDrift)}`, healthy: state.mirrorDrift.length === 0 };
}

function offText(problems: readonly { problem: string; statement: string }[]): string {
  if (problems.length === 0) {
    return 'The mirror is off: triggers of registry.projects or mai.projects are missing or disabled. Starting the gateway makes those that are missing; ALTER TABLE … ENABLE TRIGGER USER enables the others.';
  }
  const lines = problems.map(({ problem, statement }) => `  ${printable(problem)}\n    ${printable(statement)}`);
  return ['The mirror is off. Let an operator run in SQL, and start the gateway again:', ...lines].join('\n');
}

function countsText({ mirrorStatus: status }: MirrorStateQuery): string {
  return (
    `The mirror is on: ${count(status.projectCount, 'mirrored project')}, ${count(status.rowCount ?? 0, 'row')} of mai.projects, ` +
    `${count(status.unclassifiedCount, 'project')} to be classified.`
  );
}

function driftText(drift: MirrorStateQuery['mirrorDrift']): string {
  if (drift.length === 0) return 'No drift: both sides say the same.';
  const more = drift.length > shownDrift ? ', and more' : '';
  const rows = drift
    .slice(0, shownDrift)
    .map(({ project, maiId, field, ours, theirs }) => [
      project?.slug ?? '',
      maiId ?? '',
      field,
      brief(ours),
      brief(theirs),
    ]);
  return `Drift${more}:\n${table(['PROJECT', 'MAI ID', 'FIELD', 'HERE', 'THERE'], rows)}`;
}

function brief(value: unknown): string {
  const text = value == null ? '' : JSON.stringify(value);
  return text.length > 40 ? `${text.slice(0, 39)}…` : text;
}

export interface ReconcileOptions {
  direction: MirrorDirection;
  /** Only these, by slug. */
  projects: readonly string[];
  signal: AbortSignal;
  /** Told after each part. */
  onProgress: (examined: number, changed: number) => void;
}

/** How many one request looks at: so that progress shows, and stopping waits for no more. */
const part = 1_000;

/** Makes one side what the other says, part by part. */
export async function reconcileMirror(client: Client, options: ReconcileOptions): Promise<MirrorReport> {
  const { direction, signal, onProgress } = options;
  const projectIds = options.projects.length === 0 ? null : await idsOf(client, options.projects);
  const refused: string[] = [];
  let examined = 0;
  let changed = 0;
  for (let after: string | null = null; ; ) {
    signal.throwIfAborted();
    const input: ReconcileMirrorInput = { direction, projectIds, first: part, after };
    const { reconcileMirror: done }: ReconcileMirrorMutation = await client.request(reconcileDocument, { input });
    refused.push(...done.userErrors.map(({ message }) => message));
    // Nothing is answered of what was refused as a whole.
    if (done.examinedCount == null) throw new StartupError(refused.join('\n'));
    examined += done.examinedCount;
    changed += done.changedCount ?? 0;
    onProgress(examined, changed);
    if (done.hasMore !== true) break;
    after = done.endCursor ?? null;
  }
  const lines = [`Looked at ${examined}, healed ${changed}.`, ...refused.map(printable)];
  return { text: lines.join('\n'), healthy: refused.length === 0 };
}

async function idsOf(client: Client, slugs: readonly string[]): Promise<string[]> {
  const ids: string[] = [];
  for (const slug of slugs) {
    const { project } = await client.request(projectDocument, { slug });
    if (project == null) throw new StartupError(`No project has the slug ${JSON.stringify(slug)}.`);
    ids.push(project.id);
  }
  return ids;
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}
