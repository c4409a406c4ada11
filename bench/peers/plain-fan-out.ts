/**
 * The peer: graphql-ws and graphql-js as their documentation sets them up. Each subscriber has its own stream, and each
 * event is executed and serialised for each. No database: what it sends is given to it (as in bare-fan-out.ts).
 */
import { createServer } from 'node:http';
import { buildSchema } from 'graphql';
import { useServer } from 'graphql-ws/use/ws';
import { WebSocketServer } from 'ws';

const schema = buildSchema(`
  enum Change { CREATED UPDATED DELETED }
  enum Status { CLEAN AHEAD UNCOMMITTED MERGED INACTIVE }
  type GitState { uncommittedFilesCount: Int! aheadOfTrunk: Int! }
  type Project { slug: String! }
  type Worktree { name: String! status: Status! branchName: String! gitState: GitState! project: Project! }
  type WorktreeUpdate { change: Change! worktreeId: ID! worktree: Worktree }
  type Query { ok: Boolean }
  type Subscription { worktreeChanged: WorktreeUpdate! }
`);

let event: object = {};
const streams = new Set<Stream>();

/** Without a bound: the peer's events come only as fast as they are delivered. */
class Stream implements AsyncIterableIterator<object> {
  #waiting: object[] = [];
  #reader: ((result: IteratorResult<object>) => void) | null = null;

  push(value: object): void {
    if (this.#reader === null) this.#waiting.push(value);
    else this.#reader({ value, done: false });
    this.#reader = null;
  }

  next(): Promise<IteratorResult<object>> {
    const value = this.#waiting.shift();
    if (value !== undefined) return Promise.resolve({ value, done: false });
    return new Promise((resolve) => {
      this.#reader = resolve;
    });
  }

  return(): Promise<IteratorResult<object>> {
    streams.delete(this);
    return Promise.resolve({ value: undefined, done: true });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}

const roots = {
  subscription: {
    worktreeChanged: () => {
      const stream = new Stream();
      streams.add(stream);
      return stream;
    },
  },
};

const server = createServer(async (request, response) => {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  if (request.method === 'PUT') {
    event = (JSON.parse(Buffer.concat(chunks).toString()) as { payload: { data: object } }).payload.data;
  }
  const count = Number(new URL(request.url ?? '', 'http://plain').searchParams.get('count') ?? 0);
  for (let sent = 0; sent < count; sent += 1) for (const stream of streams) stream.push(event);
  response.writeHead(200).end();
});

useServer({ schema, roots }, new WebSocketServer({ server, path: '/graphql' }));

server.listen(0, '127.0.0.1', () => {
  const address = server.address();
  process.stdout.write(`http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}\n`);
});
