/**
 * See clients.ts. As cheap as can be, so that on a machine with few cores the servers are what is measured: bare sockets,
 * one buffer for all of them, frames counted and not parsed.
 */
import { connect, type Socket } from 'node:net';
import { type ClientsOptions, monotonicMs, type News, type Question } from './clients.ts';
import { createFrameReader, opcodes, writeFrame } from './frames.ts';

const { port, authorization, count, query, noteArrivals } = JSON.parse(process.argv[2] ?? '') as ClientsOptions;

const connectingAtOnce = 50;
const reportMs = 5;
/** Where the type begins in `{"id":"1","type":"next",…`. */
const typeAt = 18;
const letterN = 0x6e;
const numberField = '"uncommittedFilesCount":';

let received = 0;
let reported = 0;
let silent = count;
let arrivals: [number: number, atMs: number][] = [];
let lastText = '';

const tell = (news: News) => process.send?.(news);

/** Reads are done one after the other, each to the end before the next: one buffer serves all sockets. */
const buffer = Buffer.alloc(65_536);

/** Resolves when it has subscribed; what the server makes of that shows in what arrives. */
function openClient(): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  let isUpgraded = false;
  let isAcknowledged = false;
  let hasReceived = false;
  let nowMs = 0;

  const read = createFrameReader((opcode, bytes, start, end) => {
    if (opcode === opcodes.ping) socket.write(writeFrame(opcodes.pong, bytes.toString('utf8', start, end)));
    else if (opcode !== opcodes.text) throw new Error(`the server closed: ${bytes.toString('utf8', start + 2, end)}`);
    else if (isAcknowledged) note(bytes, start, end);
    else acknowledged(bytes.toString('utf8', start, end));
  });

  function note(bytes: Buffer, start: number, end: number): void {
    if (bytes[start + typeAt] !== letterN) throw new Error(`not a result: ${bytes.toString('utf8', start, end)}`);
    received += 1;
    if (!hasReceived) {
      hasReceived = true;
      silent -= 1;
      lastText = bytes.toString('utf8', start, end);
    }
    if (noteArrivals) arrivals.push([numberIn(bytes, start, end), nowMs]);
  }

  function acknowledged(text: string): void {
    if (!text.includes('"connection_ack"')) throw new Error(`the server refused: ${text}`);
    isAcknowledged = true;
    socket.write(writeFrame(opcodes.text, JSON.stringify({ id: '1', type: 'subscribe', payload: { query } })));
    resolve();
  }

  const socket: Socket = connect({
    port,
    host: '127.0.0.1',
    onread: {
      buffer,
      callback: (length) => {
        nowMs = monotonicMs();
        if (isUpgraded) read(buffer.subarray(0, length));
        else upgrade(buffer.toString('latin1', 0, length));
        return true;
      },
    },
  });
  socket.once('error', reject);

  function upgrade(text: string): void {
    if (!text.startsWith('HTTP/1.1 101') || !text.endsWith('\r\n\r\n')) throw new Error(`no upgrade: ${text}`);
    isUpgraded = true;
    socket.write(writeFrame(opcodes.text, JSON.stringify({ type: 'connection_init', payload: { authorization } })));
  }

  socket.setNoDelay(true);
  socket.write(
    `GET /graphql HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
      'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dHJlZWxpbmUgYmVuY2htYQ==\r\n' +
      'Sec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n',
  );
  return promise;
}

function numberIn(bytes: Buffer, start: number, end: number): number {
  const at = bytes.indexOf(numberField, start) + numberField.length;
  let number = 0;
  for (let digit = at; digit < end; digit += 1) {
    const value = (bytes[digit] ?? 0) - 0x30;
    if (value < 0 || value > 9) break;
    number = number * 10 + value;
  }
  return number;
}

for (let opened = 0; opened < count; opened += connectingAtOnce) {
  await Promise.all(Array.from({ length: Math.min(connectingAtOnce, count - opened) }, openClient));
}
setInterval(() => {
  if (received === reported) return;
  reported = received;
  tell({ kind: 'count', received, silent });
}, reportMs);
process.on('message', (question: Question) => {
  if (question === 'sample') {
    tell({ kind: 'sample', text: lastText });
    return;
  }
  tell({ kind: 'arrivals', arrivals });
  arrivals = [];
});
process.on('disconnect', () => process.exit(0));
tell({ kind: 'connected' });
