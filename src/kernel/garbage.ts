import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

// Node's documented way to the collector of a process that was not started for it.
setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as (options: { type: 'minor' | 'major' }) => void;

const minorEveryBytes = 1_000_000;
const majorEveryBytes = 32_000_000;

/**
 * For what passes on much and keeps nothing: left to itself V8 lets some hundred megabytes of buffers and texts pile up
 * before it looks at them, because they hardly count in its heap.
 * @returns to be told how much has passed on
 */
export function createSweeper(): (bytes: number) => void {
  let sinceMinor = 0;
  let sinceMajor = 0;
  return (bytes) => {
    sinceMinor += bytes;
    sinceMajor += bytes;
    if (sinceMinor < minorEveryBytes) return;
    sinceMinor = 0;
    if (sinceMajor < majorEveryBytes) return collect({ type: 'minor' });
    // What outlived the small ones, such as what waited for a slow reader.
    sinceMajor = 0;
    collect({ type: 'major' });
  };
}
