/**
 * The limit of a server: `node:http`, one statement and its values as they come; no GraphQL, no authentication, no checks.
 * The database's rules hold all the same: it asks in the role of request work and as the principal that it is told.
 */
import { createServer } from 'node:http';
import pg from 'pg';
import { runtimeOptions } from './as-principal.ts';
import { appendMessages, openChat } from './chat-statements.ts';

const pool = new pg.Pool({
  connectionString: process.env.DATABASE_URL,
  max: Number(process.env.TREELINE_POOL_SIZE ?? 10),
  options: runtimeOptions,
});

const server = createServer(async (request, response) => {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const values = JSON.parse(Buffer.concat(chunks).toString()) as unknown[];
  const statement = request.url === '/append' ? appendMessages : openChat;
  const { rows } = await pool.query<{ body: string }>({ ...statement, values });
  response.writeHead(200, { 'content-type': 'application/json' }).end(rows[0]?.body);
});

server.listen(0, '127.0.0.1', () => {
  const address = server.address();
  process.stdout.write(`http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}\n`);
});
