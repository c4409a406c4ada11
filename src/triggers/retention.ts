import type { Task } from '../registry/maintenance/schedule.ts';

/** For how many days what is over is kept. */
export interface TriggerRetention {
  /** From when they were resolved; unresolved ones stay. */
  deadLetterDays: number;
  abandonedDays: number;
  executionDays: number;
}

/** What must be done once a day, lest the past fill the database. */
export function triggerRetention({ deadLetterDays, abandonedDays, executionDays }: TriggerRetention): Task {
  return {
    name: 'trigger_retention',
    everyHours: 24,
    statements: async () => [`select triggers.drop_old(${deadLetterDays}, ${abandonedDays}, ${executionDays})`],
  };
}
