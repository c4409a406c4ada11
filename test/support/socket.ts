import { once } from 'node:events';
import { WebSocket } from 'ws';

/** A message of the protocol graphql-transport-ws. */
export interface Message {
  type: string;
  id?: string;
  // biome-ignore lint/suspicious/noExplicitAny: whatever the test's own document asks for
  payload?: any;
}

export interface TestSocket {
  socket: WebSocket;
  send(message: Message): void;
  /** The next message of any operation; none is lost while nobody asks. Fails when the socket closes instead. */
  next(): Promise<Message>;
  closed: Promise<{ code: number; reason: string }>;
  close(): Promise<void>;
}

/** Opens a socket and begins the protocol: the first message is `connection_ack`, unless the socket closes. */
export async function openSocket(gateway: { wsUrl: string }, token: string | null): Promise<TestSocket> {
  const socket = new WebSocket(`${gateway.wsUrl}/graphql`, 'graphql-transport-ws');
  const messages: Message[] = [];
  const waiting: { resolve: (message: Message) => void; reject: (error: Error) => void }[] = [];
  let over: Error | null = null;
  socket.on('message', (data) => {
    const message = JSON.parse(String(data)) as Message;
    const next = waiting.shift();
    if (next === undefined) messages.push(message);
    else next.resolve(message);
  });
  socket.on('error', () => {});
  const closed = once(socket, 'close').then(([code, reason]) => {
    over = new Error(`the socket closed with ${code}: ${String(reason)}`);
    for (const { reject } of waiting.splice(0)) reject(over);
    return { code: code as number, reason: String(reason) };
  });
  await Promise.race([once(socket, 'open'), closed.then(() => Promise.reject(over))]);
  const send = (message: Message) => socket.send(JSON.stringify(message));
  send({ type: 'connection_init', payload: token === null ? {} : { authorization: `Bearer ${token}` } });
  return {
    socket,
    send,
    next() {
      const message = messages.shift();
      if (message !== undefined) return Promise.resolve(message);
      if (over !== null) return Promise.reject(over);
      return new Promise((resolve, reject) => void waiting.push({ resolve, reject }));
    },
    closed,
    close: async () => {
      socket.close();
      await closed;
    },
  };
}

export function subscribeMessage(id: string, query: string, variables: Record<string, unknown> = {}): Message {
  return { id, type: 'subscribe', payload: { query, variables } };
}
