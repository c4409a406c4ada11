import { monotonicMs } from './clients.ts';
import type { Answer, Message } from './job-worker.ts';

/** The other end of job-worker.ts, for its programs. */
export interface JobProgram {
  /** Notes that a job begins. */
  note(key: string, atMs?: number): void;
  /** Tells that jobs may come. */
  ready(options: { wake?: () => void; stop: () => Promise<void> }): void;
}

export function openJobProgram(): JobProgram {
  let beginnings: [key: string, atMs: number][] = [];
  let stop = async () => {};
  // Also if the benchmark ends while the program starts.
  process.on('disconnect', () => void stop().then(() => process.exit(0)));
  const tell = (answer: Answer) => void process.send?.(answer);
  return {
    note: (key, atMs = monotonicMs()) => void beginnings.push([key, atMs]),
    ready({ wake = () => {}, ...options }) {
      stop = options.stop;
      process.on('message', (message: Message) => {
        if (message === 'wake') return wake();
        tell({ kind: 'beginnings', beginnings });
        beginnings = [];
      });
      tell({ kind: 'ready' });
    },
  };
}
