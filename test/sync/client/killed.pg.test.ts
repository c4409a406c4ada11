import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import type { Person } from '../../support/people.ts';
import { temporaryFolder } from '../../support/repositories.ts';
import { size } from '../../support/size.ts';
import { idsOf, pullAll } from '../asking.ts';
import { gateway, person } from './setting.ts';

const program = fileURLToPath(new URL('program.ts', import.meta.url));
const folder = temporaryFolder();
afterAll(() => folder.remove());

function run(what: 'write' | 'push', { token }: Person, path: string) {
  return spawn(process.execPath, [program, what, gateway.url, token, path], { stdio: ['ignore', 'pipe', 'inherit'] });
}

/** Writes until it has said so of so many, then is killed in the middle of whatever it does. */
async function writeAndDie(who: Person, path: string, howMany: number): Promise<string[]> {
  const child = run('write', who, path);
  const closed = once(child, 'close');
  const ids: string[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    ids.push(line);
    if (ids.length === howMany) child.kill('SIGKILL');
  }
  await closed;
  return ids;
}

test('what a killed program had written is pushed by the next one, each change once and in order', async () => {
  for (let round = 0; round < size(20); round += 1) {
    const ada = await person();
    const path = `${folder.path}/outbox-${round}`;
    const ids = [...(await writeAndDie(ada, path, 20 + round)), ...(await writeAndDie(ada, path, 5))];
    const pushing = run('push', ada, path);
    const { accepted, refused } = JSON.parse(await text(pushing.stdout)) as { accepted: number; refused: unknown[] };
    const stored = idsOf(await pullAll(gateway, ada));
    expect(stored.filter((id) => ids.includes(id))).toEqual(ids);
    // It may have kept one more each time than it came to say.
    expect(stored.length - ids.length).toBeLessThanOrEqual(2);
    expect([accepted, refused]).toEqual([stored.length, []]);
  }
}, 180_000);
