import type { TestGateway } from './gateway.ts';
import { type Message, openSocket, subscribeMessage, type TestSocket } from './socket.ts';

/** One subscription on a socket of its own, of which the root field's updates are taken one by one. */
export interface Watch<Update> {
  /** The next update. Fails with the error that the stream ended with. */
  next(): Promise<Update>;
  /** Updates up to and with the first that fits. */
  until(fits: (update: Update) => boolean): Promise<Update[]>;
  /** The next message, whatever it is. */
  message(): Promise<Message>;
  /** The error that ends the stream; fails on updates. */
  failure(): Promise<{ message: string; extensions: { code: string; cursor?: string } }>;
  socket: TestSocket;
  close(): Promise<void>;
}

export type Watchable = Pick<TestGateway, 'url' | 'wsUrl' | 'token'>;

/** Counts up only: one that is just ending does not hide one that begins. */
const begun = 'treeline_subscriptions_total';

/** Resolves when the subscription stands: a change that is made afterwards is told. */
export async function watch<Update>(
  gateway: Watchable,
  query: string,
  variables: Record<string, unknown> = {},
  token: string | null = gateway.token,
): Promise<Watch<Update>> {
  const socket = await openSocket(gateway, token);
  const greeting = await socket.next();
  if (greeting.type !== 'connection_ack') throw new Error(`expected an acknowledgement, got ${greeting.type}`);
  const before = await metric(gateway, begun);
  socket.send(subscribeMessage('watch', query, variables));
  // It stands once it is counted; one that is refused says so instead.
  const first: Promise<Message> = socket.next();
  first.catch(() => {});
  await Promise.race([untilMetric(gateway, begun, (count) => count > before), first]);
  let taken = false;
  const take = () => {
    if (taken) return socket.next();
    taken = true;
    return first;
  };

  async function next(): Promise<Update> {
    const message = await take();
    if (message.type !== 'next') throw new Error(`the stream ended: ${JSON.stringify(message)}`);
    if (message.payload.errors !== undefined) throw new Error(`unexpected errors: ${JSON.stringify(message.payload)}`);
    return Object.values(message.payload.data)[0] as Update;
  }

  return {
    socket,
    next,
    message: take,
    async until(fits) {
      const updates: Update[] = [];
      for (;;) {
        const update = await next();
        updates.push(update);
        if (fits(update)) return updates;
      }
    },
    async failure() {
      const message = await take();
      const [error] = message.type === 'error' ? message.payload : (message.payload?.errors ?? []);
      if (error === undefined) throw new Error(`expected an error, got ${JSON.stringify(message)}`);
      return error;
    },
    close: () => socket.close(),
  };
}

/** A figure of `/metrics`, without labels. */
export async function metric({ url }: Pick<Watchable, 'url'>, name: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const line = new RegExp(`^${name} (.+)$`, 'm').exec(text);
  if (line === null) throw new Error(`no metric ${name}`);
  return Number(line[1]);
}

/** Waits for a figure of the gateway; asks again and again, because nothing else signals it. */
export async function untilMetric(
  gateway: Pick<Watchable, 'url'>,
  name: string,
  fits: (value: number) => boolean,
): Promise<number> {
  for (;;) {
    const value = await metric(gateway, name);
    if (fits(value)) return value;
  }
}
