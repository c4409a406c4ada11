/** The peer: PostGraphile 5 with its Amber preset over the same tables, as its documentation sets it up. */
import { createServer } from 'node:http';
import { postgraphile } from 'postgraphile';
import { makePgService } from 'postgraphile/adaptors/pg';
import { grafserv } from 'postgraphile/grafserv/node';
import { PostGraphileAmberPreset } from 'postgraphile/presets/amber';

const preset = {
  extends: [PostGraphileAmberPreset],
  pgServices: [
    makePgService({
      connectionString: process.env.DATABASE_URL ?? '',
      schemas: ['registry'],
      poolConfig: { max: Number(process.env.TREELINE_POOL_SIZE ?? 10), options: '-c timezone=UTC -c jit=off' },
    }),
  ],
  grafserv: { port: 0, graphqlPath: '/graphql', watch: false, graphiql: false },
  grafast: { explain: false },
  // Its own mutations would clash by name with functions of the registry, and only its reads are measured. Its guess at
  // which columns are indexed misses partial indexes, and with it the condition on in_flight.
  disablePlugins: ['PgMutationCreatePlugin', 'PgMutationUpdateDeletePlugin', 'PgIndexBehaviorsPlugin'],
};

const instance = postgraphile(preset);
const server = createServer();
server.on('error', (error) => {
  process.stderr.write(`${String(error)}\n`);
  process.exit(1);
});
await instance.createServ(grafserv).addTo(server);
server.listen(0, '127.0.0.1', () => {
  const address = server.address();
  process.stdout.write(`http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}\n`);
});
