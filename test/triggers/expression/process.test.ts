import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { describe, expect, test, vi } from 'vitest';
import { createExpressions } from '../../../src/triggers/expression/expressions.ts';

const program = fileURLToPath(new URL('asking.ts', import.meta.url));
const costly = '=$contains($pad("", 50, "a") & "!", /^(\\w|\\w\\w)+$/)';

function startAsking(templates: readonly string[]) {
  return spawn(process.execPath, [program, ...templates], { stdio: ['ignore', 'pipe', 'inherit'] });
}

/** The processes that a process has for evaluating. */
function evaluatorsOf(parent: number | undefined): number[] {
  const lines = execFileSync('ps', ['-A', '-o', 'pid=,ppid=,args='], { encoding: 'utf8' }).split('\n');
  return lines.flatMap((line) => {
    const [, pid, ppid, args] = /^\s*(\d+)\s+(\d+)\s+(.*)$/.exec(line) ?? [];
    return Number(ppid) === parent && args?.includes('evaluator-program') ? [Number(pid)] : [];
  });
}

/** One that nobody has asked after since it ended has ended all the same: not all systems in containers ask. */
function isRunning(pid: number): boolean {
  const { stdout } = spawnSync('ps', ['-o', 'stat=', '-p', String(pid)], { encoding: 'utf8' });
  return /^[^Z\s]/.test(stdout.trim());
}

async function startEvaluator() {
  const others = evaluatorsOf(process.pid);
  const expressions = createExpressions();
  await expressions.test([{ condition: 'true', event: {} }]);
  const [evaluator = 0, ...more] = evaluatorsOf(process.pid).filter((pid) => !others.includes(pid));
  expect(more).toEqual([]);
  return { expressions, evaluator };
}

describe('the process in which expressions are evaluated', () => {
  test('keeps nobody from ending, once it has answered', async () => {
    const asking = startAsking(['=1 + 1']);
    const lines = createInterface(asking.stdout);
    const [[line], [code]] = await Promise.all([once(lines, 'line'), once(asking, 'exit')]);
    expect(line).toBe('{"ok":true,"value":2}');
    expect(code).toBe(0);
  });

  test('ends with a gateway that is killed, whatever it is doing', async () => {
    const asking = startAsking(['=1', ...Array.from({ length: 100 }, () => costly)]);
    await once(createInterface(asking.stdout), 'line');
    const [evaluator = 0] = evaluatorsOf(asking.pid);
    expect(isRunning(evaluator)).toBe(true);
    asking.kill('SIGKILL');
    await once(asking, 'exit');
    // Nothing tells of the end of a process that is no child.
    await vi.waitFor(() => expect(isRunning(evaluator)).toBe(false), { timeout: 10_000, interval: 20 });
  });

  test('is not ended by the signals that tell a gateway to drain, which reach it too', async () => {
    const { expressions, evaluator } = await startEvaluator();
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.kill(evaluator, signal);
    expect(await expressions.render([{ template: '=1', event: {} }])).toEqual([{ ok: true, value: 1 }]);
    expect(isRunning(evaluator)).toBe(true);
    await expressions.close();
  });

  test('is not ended by a promise that an expression left behind, and that failed', async () => {
    const { expressions, evaluator } = await startEvaluator();
    const native = '$append(function($a){ $error("later") }, [0])[0]';
    for (const template of [`=$string({"toJSON": ${native}})`, '=1'])
      await expressions.render([{ template, event: {} }]);
    expect(isRunning(evaluator)).toBe(true);
    await expressions.close();
  });

  test('is replaced after it was killed, and nothing that was asked is lost', async () => {
    const { expressions, evaluator } = await startEvaluator();
    const ask = (n: number) => expressions.render([{ template: '=n', event: { n } }]);
    process.kill(evaluator, 'SIGKILL');
    expect(await Promise.all([ask(1), ask(2)])).toEqual([[{ ok: true, value: 1 }], [{ ok: true, value: 2 }]]);
    expect(isRunning(evaluator)).toBe(false);
    await expressions.close();
  });

  test('ends when it is closed, and who waits for it is told', async () => {
    const { expressions, evaluator } = await startEvaluator();
    const waiting = [costly, '=1'].map((template) => expressions.render([{ template, event: {} }]));
    const told = Promise.allSettled(waiting);
    await expressions.close();
    for (const outcome of await told)
      expect(outcome).toMatchObject({ reason: { message: expect.stringContaining('closed') } });
    expect(isRunning(evaluator)).toBe(false);
    await expressions.close();
  });

  test('gets nothing of the environment', async () => {
    const { expressions, evaluator } = await startEvaluator();
    const shown = (pid: number) => execFileSync('ps', ['eww', '-o', 'args=', '-p', String(pid)], { encoding: 'utf8' });
    expect(shown(process.pid)).toContain('PATH=');
    expect(shown(evaluator)).toContain('evaluator-program');
    expect(shown(evaluator)).not.toContain('PATH=');
    await expressions.close();
  });
});
