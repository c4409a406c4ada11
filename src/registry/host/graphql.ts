import type { RequestContext } from '../../auth/context.ts';
import { builder } from '../../graphql/builder.ts';
import { readPage, toConnection } from '../../graphql/connection.ts';
import { byKey, loader } from '../../graphql/loaders.ts';
import type { HostRow } from './model.ts';
import { hostOrder, listHosts, listHostsById } from './store.ts';

export function hostLoader(context: RequestContext) {
  return loader<HostRow | null>(
    context,
    'host',
    async (ids) => byKey(await listHostsById(context.db, ids), (host) => host.id),
    null,
  );
}

export const Host = builder.objectRef<HostRow>('Host');

builder.node(Host, {
  description: 'A machine that has checkouts of projects.',
  id: { resolve: (host) => host.id },
  loadWithoutCache: (id, context) => hostLoader(context).load(id),
  isTypeOf: (value) => typeof value === 'object' && value !== null && 'last_seen_at' in value,
  fields: (t) => ({
    uuid: t.field({
      type: 'UUID',
      description: 'The key of the row, as SQL users know it.',
      resolve: (host) => host.id,
    }),
    name: t.exposeString('name', { description: 'What the host calls itself; unique.' }),
    platform: t.exposeString('platform', { nullable: true, description: 'Its operating system, where known.' }),
    labels: t.field({ type: 'JSON', description: 'Free-form labels, an object.', resolve: (host) => host.labels }),
    lastSeenAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'When it last reported; null before its first report.',
      resolve: (host) => host.last_seen_at,
    }),
  }),
});

export const HostConnection = builder.connectionObject(
  { type: Host, name: 'HostConnection', description: 'One page of hosts.' },
  { name: 'HostEdge', description: 'A host with its cursor.' },
);

builder.queryField('hosts', (t) =>
  t.connection(
    {
      type: Host,
      description: 'All hosts by name. Scope registry:read.',
      resolve: async (_root, args, context) => {
        const page = readPage(args, hostOrder);
        return toConnection(await listHosts(context.db, page), page, hostOrder);
      },
    },
    HostConnection,
  ),
);
