/** One thing that must hold before the gateway can serve. */
export type Check = () => Promise<boolean>;

export interface Readiness {
  ready: boolean;
  checks: Record<string, boolean>;
}

const restMs = 500;

/**
 * Whether the gateway can serve. However many ask at once and how often, the database is asked once and then left alone
 * for half a second: a storm of probes must not be what takes it down.
 */
export function createReadiness(checks: Readonly<Record<string, Check>>): () => Promise<Readiness> {
  let latest: { at: number; readiness: Promise<Readiness> } | null = null;

  async function look(): Promise<Readiness> {
    const outcomes = await Promise.all(
      Object.entries(checks).map(async ([name, check]) => [name, await check().catch(() => false)] as const),
    );
    return { ready: outcomes.every(([, holds]) => holds), checks: Object.fromEntries(outcomes) };
  }

  return () => {
    const now = performance.now();
    if (latest === null || now - latest.at > restMs) latest = { at: now, readiness: look() };
    return latest.readiness;
  };
}
