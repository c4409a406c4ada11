import { z } from 'zod';
import { Refusal } from '../../kernel/errors.ts';
import type { DigestedLines } from '../../kernel/line-digest.ts';

/**
 * The file that changes leave and come in: a change on each line, as JSON, and a manifest on the last. The manifest follows
 * from the lines alone and has one spelling, so that whoever reads the file can make it anew and compare: what was cut,
 * altered or added to is told by that.
 */
const format = 'treeline-sync';
const version = 1;

/** The largest change that can be stored, with room for its names. */
export const mostLineBytes = 11_000_000;

/** How many changes of an app and a schema version there are. */
export interface VersionCount {
  app_id: string;
  schema_version: number;
  count: number;
}

export interface AppCount {
  app_id: string;
  changes: number;
  schema_versions: number[];
}

/** Counts changes by app, page by page. */
export interface Tally {
  /** @returns how many these were */
  add(counts: readonly VersionCount[]): number;
  /** By app. */
  apps(): AppCount[];
}

export function createTally(): Tally {
  const apps = new Map<string, { changes: number; versions: Set<number> }>();
  return {
    add(counts) {
      let all = 0;
      for (const { app_id: appId, schema_version: schemaVersion, count } of counts) {
        const app = apps.get(appId) ?? { changes: 0, versions: new Set() };
        apps.set(appId, app);
        app.changes += count;
        app.versions.add(schemaVersion);
        all += count;
      }
      return all;
    },
    apps: () =>
      [...apps]
        .sort(([one], [other]) => (one < other ? -1 : 1))
        .map(([appId, { changes, versions }]) => ({
          app_id: appId,
          changes,
          schema_versions: [...versions].sort((one, other) => one - other),
        })),
  };
}

/** @param sha256 of all bytes before it */
export function manifestLine(apps: readonly AppCount[], sha256: string): string {
  const changes = apps.reduce((all, app) => all + app.changes, 0);
  return `${JSON.stringify({ format, version, changes, apps, sha256 })}\n`;
}

const manifestShape = z.object({
  format: z.literal(format),
  version: z.number(),
  changes: z.number(),
  apps: z.array(z.object({ app_id: z.string(), changes: z.number(), schema_versions: z.array(z.number()) })),
  sha256: z.string(),
});

/**
 * What a file says it holds, when that fits to what came. Whether the changes are of these apps is told by importing them.
 * @throws Refusal INVALID for what was cut, altered or added to; UNSUPPORTED_VERSION for a format that is newer
 */
export function readManifest({ lines, sha256, lastLine }: DigestedLines): AppCount[] {
  const line = lines + 1;
  const text = lastLine.toString();
  if (text === '')
    throw refused(1, 'The file is empty: expected changes as lines of JSON, and a manifest on the last line.');
  const manifest = manifestShape.safeParse(parseOrNull(text)).data;
  if (manifest === undefined) {
    throw refused(
      line,
      `Line ${line}: expected a manifest on the last line: the file was cut short, or something was added.`,
    );
  }
  if (manifest.version !== version) {
    throw new Refusal(
      'UNSUPPORTED_VERSION',
      `Line ${line}: expected version ${version} of the format, got ${manifest.version}: a newer gateway wrote the file.`,
      { details: { line } },
    );
  }
  if (manifest.changes !== lines) {
    throw refused(
      line,
      `Line ${line}: the manifest tells of ${manifest.changes} changes, and ${lines} lines came before it.`,
    );
  }
  if (manifest.sha256 !== sha256) {
    throw refused(line, `Line ${line}: the lines are not those of the manifest: the file was altered.`);
  }
  if (!lastLine.equals(Buffer.from(manifestLine(manifest.apps, sha256)))) {
    throw refused(line, `Line ${line}: the manifest is not as it was written: the file was altered or cut short.`);
  }
  return manifest.apps;
}

/** @throws Refusal INVALID when the changes are others than the manifest says */
export function requireSameApps(found: readonly AppCount[], told: readonly AppCount[], line: number): void {
  if (JSON.stringify(found) !== JSON.stringify(told)) {
    throw refused(line, `Line ${line}: the manifest tells of other apps or schema versions than the lines before it.`);
  }
}

function refused(line: number, message: string): Refusal {
  return new Refusal('INVALID', message, { details: { line } });
}

function parseOrNull(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
