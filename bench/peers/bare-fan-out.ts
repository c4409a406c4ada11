/**
 * The limit: `ws`, a loop and a text, the same for all; no database, no GraphQL, nobody who is too slow. It says what its
 * clients wait for, and then sends as often as it is told to:
 *
 *   PUT /text            what to send
 *   POST /send?count=N   sends it so often to every client; with ?number=N once, with that number in it
 */
import { createServer } from 'node:http';
import { WebSocket, WebSocketServer } from 'ws';

let text = '';
let wanted = 0;
let isSending = false;

const server = createServer(async (request, response) => {
  const url = new URL(request.url ?? '', 'http://bare');
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  if (request.method === 'PUT') text = Buffer.concat(chunks).toString();
  const number = url.searchParams.get('number');
  if (number !== null) text = text.replace(/("uncommittedFilesCount":)\d+/, `$1${number}`);
  wanted += number === null ? Number(url.searchParams.get('count') ?? 0) : 1;
  response.writeHead(200).end();
  if (!isSending) sendAll();
});

/** One text to all, then whatever else there is to do. */
function sendAll(): void {
  isSending = wanted > 0;
  if (!isSending) return;
  wanted -= 1;
  for (const client of sockets.clients) if (client.readyState === WebSocket.OPEN) client.send(text);
  setImmediate(sendAll);
}

const sockets = new WebSocketServer({ server, path: '/graphql', perMessageDeflate: false });
sockets.on('connection', (socket) => {
  socket.on('message', (message) => {
    if (String(message).includes('connection_init')) socket.send('{"type":"connection_ack"}');
  });
});

server.listen(0, '127.0.0.1', () => {
  const address = server.address();
  process.stdout.write(`http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}\n`);
});
