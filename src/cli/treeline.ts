#!/usr/bin/env node
import { Command, InvalidArgumentError, Option } from 'commander';
import { GatewayError } from '../client/client.ts';
import { readConfig } from '../config.ts';
import { StartupError } from '../kernel/errors.ts';
import { findGateway, hostName } from './gateway.ts';
import { inFlightTable, listInFlight } from './ls.ts';
import { runMigrate } from './migrate.ts';
import { type MirrorReport, mirrorStatus, reconcileMirror } from './mirror.ts';
import { failed, runScan, scanSummary } from './scan.ts';
import { exportChanges, importChanges } from './sync.ts';
import { createToken, readScopes, revokeToken, tokenTable } from './token.ts';
import type { WatchOptions } from './watch-feed.ts';

const program = new Command('treeline')
  .description("The live registry of a fleet's projects and worktrees, from a terminal")
  .showHelpAfterError()
  .exitOverride();

program
  .command('scan')
  .description('find the git repositories below folders and report all their worktrees')
  .argument('[dir...]', 'where to look; this folder when left out')
  .option('--host <name>', 'the name under which this machine reports')
  .option('--json', 'print what happened as JSON')
  .action(async (directories: string[], options: { host?: string; json?: boolean }) => {
    const config = readConfig();
    const gateway = await findGateway(config);
    const signal = untilStopped('Stopped. What was reported until then is stored.');
    const startedAt = performance.now();
    const host = hostName(options.host, config, gateway);
    const result = await runScan(gateway, directories.length === 0 ? ['.'] : directories, {
      host,
      signal,
    });
    const seconds = (performance.now() - startedAt) / 1_000;
    print(options.json === true ? toJson({ host, ...result }) : scanSummary(result, seconds));
    if (result.repositories.some(failed)) process.exitCode = 1;
  });

program
  .command('ls')
  .description('list the work in flight: uncommitted or not merged yet, on all hosts')
  .option('--json', 'print it as JSON')
  .action(async (options: { json?: boolean }) => {
    const { client } = await findGateway(readConfig());
    const worktrees = await listInFlight(client);
    print(options.json === true ? toJson(worktrees) : inFlightTable(worktrees));
  });

program
  .command('watch-feed')
  .description('print every change of the registry as it happens, until it is stopped')
  .option('--topic <names...>', 'only these: projects, worktrees, claims, activities, hosts, worktree_types, mirror')
  .option('--project <slug>', 'only what belongs to this project')
  .addOption(new Option('--after <cursor>', 'begin with what came after this cursor').conflicts('state'))
  .option('--state <file>', 'keep the last cursor in this file, and go on from it at the next start')
  .option('--json', 'print one JSON object per line, with its cursor')
  .action(async (options: WatchOptions) => {
    // Only here: what speaks over a WebSocket takes longer to load than the other commands take.
    const { watchFeed } = await import('./watch-feed.ts');
    const { client } = await findGateway(readConfig());
    await watchFeed(client, options);
  });

const token = program.command('token').description('make, list and revoke tokens');

token
  .command('create')
  .description('make a token for yourself and print it, this one time')
  .argument('<name>', 'what it is for')
  .option('--scopes <list>', 'comma-separated', 'registry:read,registry:write')
  .option('--expires <time>', 'when it ends, as RFC 3339 or a date', readTime)
  .action(async (name: string, options: { scopes: string; expires?: string }) => {
    const { client } = await findGateway(readConfig());
    print(await createToken(client, { name, scopes: readScopes(options.scopes), expiresAt: options.expires ?? null }));
  });

token
  .command('list')
  .description('list your tokens')
  .action(async () => print(await tokenTable((await findGateway(readConfig())).client)));

token
  .command('revoke')
  .description('end a token for good')
  .argument('<id>', 'its id, as "token list" shows it')
  .action(async (id: string) => print(await revokeToken((await findGateway(readConfig())).client, id)));

const sync = program.command('sync').description('take out and put in your own changes of offline clients');

sync
  .command('export')
  .description('write all changes of your own to a file, as a line of JSON each')
  .argument('[file]', 'compressed if it ends in .gz; standard output when left out, or -', '-')
  .option('--app <ids...>', 'only of these apps', [])
  .action(async (file: string, options: { app: string[] }) => {
    const { client } = await findGateway(readConfig());
    const signal = untilStopped('Stopped: nothing of the export was kept.');
    const { changes } = await exportChanges(client.endpoint, options.app, { file, signal });
    if (file !== '-') print(`Exported ${changes} changes to ${file}.`);
  });

sync
  .command('import')
  .description('store the changes of an export as your own: all of them, or none')
  .argument('<file>', 'compressed or not; standard input when it is -')
  .action(async (file: string) => {
    const { client } = await findGateway(readConfig());
    const signal = untilStopped('Stopped: nothing of the file was stored, unless it had all been sent.');
    const { changes, stored, known } = await importChanges(client.endpoint, { file, signal });
    print(`Imported ${changes} changes: ${stored} are new, ${known} were there already.`);
  });

const mirror = program.command('mirror').description('see and heal the mirror with mai.projects');

mirror
  .command('status')
  .description('say whether the mirror works and where the two sides differ; exits with 1 if they do')
  .action(async () => conclude(await mirrorStatus((await findGateway(readConfig())).client)));

mirror
  .command('reconcile')
  .description('make one side what the other says; may be stopped and started again')
  .addOption(
    new Option('--direction <side>', 'to-mai: mai.projects follows; from-mai: the projects here follow')
      .choices(['to-mai', 'from-mai'])
      .makeOptionMandatory(),
  )
  .option('--project <slugs...>', 'only these projects', [])
  .action(async (options: { direction: string; project: string[] }) => {
    const { client } = await findGateway(readConfig());
    const report = await reconcileMirror(client, {
      direction: options.direction === 'to-mai' ? 'TO_MAI' : 'FROM_MAI',
      projects: options.project,
      signal: untilStopped('Stopped. What was healed until then stays.'),
      onProgress: (examined, changed) => {
        if (process.stderr.isTTY) process.stderr.write(`\r${examined} looked at, ${changed} healed\u001b[K\r`);
      },
    });
    conclude(report);
  });

program
  .command('dispatch')
  .description('run triggers beside the gateways of a database, without serving anybody, until it is stopped')
  .action(async () => {
    // Only here: it loads what the gateway loads.
    const { runDispatch } = await import('./dispatch.ts');
    await runDispatch(readConfig());
  });

program
  .command('migrate')
  .description('bring the database schema up to date, without starting the gateway')
  .action(async () => print(await runMigrate(readConfig())));

function untilStopped(message: string): AbortSignal {
  const stop = new AbortController();
  process.once('SIGINT', () => stop.abort(new StartupError(message)));
  return stop.signal;
}

function readTime(text: string): string {
  const time = new Date(text);
  if (Number.isNaN(time.getTime())) throw new InvalidArgumentError('Expected a time such as 2027-01-31T12:00:00Z.');
  return time.toISOString();
}

function conclude({ text, healthy }: MirrorReport): void {
  print(text);
  if (!healthy) process.exitCode = 1;
}

function toJson(value: unknown): string {
  return JSON.stringify(value, null, 2);
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

try {
  await program.parseAsync();
} catch (error) {
  const { code, exitCode } = error as { code?: string; exitCode?: number };
  // Commander has printed its own text already.
  if (code?.startsWith('commander.') === true) process.exitCode = exitCode ?? 1;
  else {
    const expected = error instanceof StartupError || error instanceof GatewayError || code === 'ENOENT';
    process.stderr.write(
      `${expected ? (error as Error).message : error instanceof Error ? error.stack : String(error)}\n`,
    );
    process.exitCode = 1;
  }
}
