import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readConfig } from '../config.ts';
import { StartupError } from '../kernel/errors.ts';
import { findGateway, hostName } from './gateway.ts';
import { inFlightTable, listInFlight } from './ls.ts';
import { runScan, scanSummary } from './scan.ts';

/**
 * `npm run demo`: a handful of real git repositories in a temporary folder, their worktrees in different states, scanned
 * into the running gateway. For whoever has no repositories at hand, and wants to see life.
 */

const environment = {
  // Within a hook, GIT_DIR and the like name the user's repository: what is made here would be committed there.
  ...Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('GIT_'))),
  // Neither the user's settings nor a missing identity may change what is made here.
  GIT_CONFIG_GLOBAL: '/dev/null',
  GIT_CONFIG_NOSYSTEM: '1',
  GIT_AUTHOR_NAME: 'Demo',
  GIT_AUTHOR_EMAIL: 'demo@example.com',
  GIT_COMMITTER_NAME: 'Demo',
  GIT_COMMITTER_EMAIL: 'demo@example.com',
};

function git(directory: string, ...args: string[]): void {
  execFileSync('git', args, { cwd: directory, env: environment, stdio: 'pipe' });
}

function commit(directory: string, file: string, text: string, message: string): void {
  writeFileSync(join(directory, file), text);
  git(directory, 'add', '--all');
  git(directory, 'commit', '--quiet', '-m', message);
}

/** A clone of a bare repository that stands for the server, with one commit on main. */
function makeProject(root: string, name: string): string {
  const origin = join(root, 'servers', `${name}.git`);
  const trunk = join(root, name, name);
  git(root, 'init', '--quiet', '--bare', '--initial-branch=main', origin);
  git(root, 'clone', '--quiet', origin, trunk);
  git(trunk, 'checkout', '--quiet', '-B', 'main');
  commit(trunk, 'README.md', `# ${name}\n`, 'Begin');
  git(trunk, 'push', '--quiet', 'origin', 'main');
  git(trunk, 'remote', 'set-head', 'origin', 'main');
  git(trunk, 'remote', 'set-url', 'origin', `git@git.example.com:demo/${name}.git`);
  return trunk;
}

function addWorktree(trunk: string, directory: string, branch: string): string {
  const path = join(trunk, '..', directory);
  git(trunk, 'worktree', 'add', '--quiet', '-b', branch, path, 'main');
  return path;
}

function makeShop(root: string): void {
  const trunk = makeProject(root, 'shop');
  const checkout = addWorktree(trunk, 'feat-checkout', 'feat/checkout');
  commit(checkout, 'checkout.ts', 'export const checkout = () => {};\n', 'Add the checkout');
  commit(checkout, 'cart.ts', 'export const cart = [];\n', 'Add the cart');
  const tax = addWorktree(trunk, 'fix-tax', 'fix/tax');
  writeFileSync(join(tax, 'tax.ts'), 'export const rate = 0.2;\n');
  writeFileSync(join(tax, 'README.md'), '# shop\n\nWith taxes.\n');
  addWorktree(trunk, 'pr-17', 'pr-review/17');
}

function makeEngine(root: string): void {
  const trunk = makeProject(root, 'engine');
  const old = addWorktree(trunk, 'feat-cache', 'feat/cache');
  commit(old, 'cache.ts', 'export const cache = new Map();\n', 'Add a cache');
  commit(trunk, 'engine.ts', 'export const engine = 1;\n', 'Start the engine');
  git(trunk, 'update-ref', 'refs/remotes/origin/main', 'HEAD');
  const rules = addWorktree(trunk, 'aiops rules', 'aiops/rules');
  writeFileSync(join(rules, 'règles & Ordnung.md'), 'Be kind.\n');
  const detached = join(trunk, '..', 'bisect');
  git(trunk, 'worktree', 'add', '--quiet', '--detach', detached, 'HEAD~1');
  git(trunk, 'worktree', 'lock', detached);
}

function makeNotes(root: string): void {
  const notes = join(root, 'notes');
  mkdirSync(notes);
  git(notes, 'init', '--quiet', '--initial-branch=main');
  commit(notes, 'ideas.md', '- a dashboard\n', 'Write down an idea');
  writeFileSync(join(notes, 'more.md'), '- a mirror\n');
}

function makeBare(root: string): void {
  const origin = makeProject(root, 'deploy');
  const bare = join(root, 'deploy-bare.git');
  git(root, 'clone', '--quiet', '--bare', origin, bare);
  git(bare, 'remote', 'set-url', 'origin', 'git@git.example.com:demo/deploy.git');
  const path = join(root, 'devops-terraform');
  git(bare, 'worktree', 'add', '--quiet', '-b', 'devops/terraform', path, 'main');
  commit(path, 'main.tf', '# nothing yet\n', 'Begin with Terraform');
}

async function main(): Promise<void> {
  const config = readConfig();
  const gateway = await findGateway(config);
  // As git tells paths: the temporary folder may be a link.
  const root = realpathSync(mkdtempSync(join(tmpdir(), 'treeline-demo-')));
  try {
    for (const make of [makeShop, makeEngine, makeNotes, makeBare]) make(root);
    // They were only there to be cloned from; the clones name another remote.
    rmSync(join(root, 'servers'), { recursive: true });
  } catch (error) {
    rmSync(root, { recursive: true, force: true });
    throw new StartupError(`The demo's repositories could not be made: ${(error as Error).message}`);
  }
  const startedAt = performance.now();
  const result = await runScan(gateway, [root], { host: hostName(undefined, config, gateway) });
  const summary = scanSummary(result, (performance.now() - startedAt) / 1_000);
  const inFlight = (await listInFlight(gateway.client)).filter(({ path }) => path.startsWith(root));
  process.stdout.write(
    `${summary}\n\n${inFlightTable(inFlight)}\n\nThe repositories are in ${root}: change something there, then ` +
      `run "npm run treeline -- scan ${root}". When you are done, remove the folder and scan ${tmpdir()} once more.\n`,
  );
}

main().catch((error: unknown) => {
  const expected = error instanceof StartupError || (error as Error).name === 'GatewayError';
  process.stderr.write(`${expected ? (error as Error).message : ((error as Error).stack ?? String(error))}\n`);
  process.exitCode = 1;
});
