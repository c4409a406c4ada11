import { randomBytes } from 'node:crypto';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { StartupError } from '../kernel/errors.ts';
import type { Logger } from '../kernel/logger.ts';
import { findBinaries } from './binaries.ts';
import { type Passwords, prepareCluster } from './cluster.ts';
import { isHolder, type Lock, takeLock } from './lock.ts';
import { chooseOsUser } from './os-user.ts';
import { expectedCluster, explained, findPlace, giveToOwnerOf, type Place } from './place.ts';
import { startPostmaster } from './postmaster.ts';
import { backupLogin, database, gatewayLogin, owner, setUpRoles, superuser } from './roles.ts';

/** A PostgreSQL 18 of this gateway's own. Whoever starts it stops it. */
export interface EmbeddedServer {
  /** As the role that owns the schema: for migrations; what `DATABASE_URL` is otherwise. */
  ownerUrl: string;
  /** As the login for request work, a member of `treeline_runtime`: what `DATABASE_RUNTIME_URL` is otherwise. */
  runtimeUrl: string;
  port: number;
  /** The postmaster's process id. */
  pid: number;
  /** Resolves when the server has gone, asked by `stop` or not. */
  gone: Promise<void>;
  /** Shuts the server down and frees the data directory. Any number of calls. */
  stop(): Promise<void>;
}

export interface EmbeddedOptions {
  /** An absolute path: `TREELINE_DATA_DIR`. */
  dataDir: string;
  log: Logger;
  /** False for tests only: faster, with room for many gateways, and a power cut destroys the data. */
  durable?: boolean;
}

/**
 * Starts the server of a data directory on a free loopback port; makes the cluster the first time, and first ends what a
 * killed gateway left running. Writes the owner's URL into `<dataDir>/url`, and one that reads everything into
 * `<dataDir>/backup-url` (both mode 0600).
 * @throws StartupError when another gateway uses the data directory, or it cannot be used
 */
export async function startEmbedded({ dataDir, log, durable = true }: EmbeddedOptions): Promise<EmbeddedServer> {
  if (process.platform === 'win32') {
    throw new StartupError('The embedded PostgreSQL runs on Linux and macOS. On Windows, set DATABASE_URL.');
  }
  const user = await chooseOsUser(expectedCluster(dataDir), log);
  const binaries = await findBinaries(user, log);
  const place = await findPlace(dataDir, user, log);
  const lock = await claim(place);
  try {
    const passwords = await explained(place.home, () => prepareCluster({ binaries, user, place, durable, log }));
    const postmaster = await startPostmaster({ binaries, user, cluster: place.cluster, durable, log });
    const backupPassword = randomBytes(24).toString('base64url');
    const urls = urlsOf({ ...passwords, backup: backupPassword }, postmaster.port);
    const files = { url: urls.ownerUrl, 'backup-url': urls.backupUrl };
    try {
      await setUpRoles({
        superuserUrl: urls.superuserUrl,
        passwords,
        backupPassword,
        statStatements: binaries.hasStatStatements,
      });
      for (const [name, url] of Object.entries(files)) await writeUrl(place, name, url);
    } catch (error) {
      await postmaster.stop();
      throw error;
    }
    const stop = async () => {
      await postmaster.stop();
      for (const name of Object.keys(files)) await rm(join(place.dataDir, name), { force: true });
      await lock.release();
    };
    let stopping: Promise<void> | undefined;
    return {
      ownerUrl: urls.ownerUrl,
      runtimeUrl: urls.runtimeUrl,
      port: postmaster.port,
      pid: postmaster.pid,
      gone: postmaster.gone,
      stop: () => (stopping ??= stop()),
    };
  } catch (error) {
    await lock.release();
    throw error;
  }
}

async function claim({ dataDir, home }: Place): Promise<Lock> {
  const result = await explained(home, () => takeLock(home));
  if (!isHolder(result)) return result;
  throw new StartupError(
    `Another gateway (process ${result.pid}) uses the data directory ${dataDir}. ` +
      `Stop it first ("kill ${result.pid}"), or give this one another TREELINE_DATA_DIR or a DATABASE_URL.`,
  );
}

function urlsOf(passwords: Passwords & { backup: string }, port: number) {
  const url = (login: string, password: string, name: string) =>
    `postgresql://${login}:${password}@127.0.0.1:${port}/${name}`;
  return {
    superuserUrl: url(superuser, passwords.superuser, 'postgres'),
    ownerUrl: url(owner, passwords.owner, database),
    runtimeUrl: url(gatewayLogin, passwords.gateway, database),
    backupUrl: url(backupLogin, passwords.backup, database),
  };
}

async function writeUrl({ dataDir }: Place, name: string, url: string): Promise<void> {
  const path = join(dataDir, name);
  // Removed first: a mode is only given to a file that is made.
  await rm(path, { force: true });
  await writeFile(path, `${url}\n`, { mode: 0o600 });
  await giveToOwnerOf(dataDir, path);
}
