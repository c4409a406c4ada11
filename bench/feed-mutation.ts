import { startGateway } from './contender.ts';
import { activeWorktreeIds, asOwner, type Databases, quickSize, setLogged } from './databases.ts';
import { reachAll } from './fan-out.ts';
import { endlessReports, mutationLoad } from './git-state.ts';
import { startClients } from './processes/clients.ts';
import { compare, type Load } from './rounds.ts';

/**
 * What the log costs those who write through the gateway: the same gateway on a database that does not log worktrees.
 * A gateway that somebody watches also reads the log all the time and delivers what it reads.
 */
export async function feedMutation(databases: Databases): Promise<void> {
  await using opened = new AsyncDisposableStack();

  async function openLoad(name: string, { logged, watched }: { logged: boolean; watched: boolean }): Promise<Load> {
    const urls = await databases.open(`${logged ? '' : 'un'}logged${watched ? '_watched' : ''}`, quickSize);
    await setLogged(urls.ownerUrl, logged);
    const gateway = await startGateway(urls, name);
    opened.defer(() => gateway.stop());
    if (watched) {
      const clients = await startClients(gateway, { count: 1 });
      opened.defer(() => clients.stop());
      await reachAll(clients, () => touchWorktree(urls.ownerUrl));
    }
    return mutationLoad(gateway, endlessReports(await activeWorktreeIds(urls.ownerUrl)));
  }

  const without = await openLoad('without the log', { logged: false, watched: false });
  const logged = await openLoad('with the log', { logged: true, watched: false });
  const watched = await openLoad('with the log, watched', { logged: true, watched: true });
  await compare([without, logged, watched], { reference: without });
}

async function touchWorktree(ownerUrl: string): Promise<void> {
  await asOwner(ownerUrl, (client) =>
    client.query(`update registry.worktrees set last_commit_message = gen_random_uuid()
      where id = (select id from registry.worktrees where active order by path limit 1)`),
  );
}
