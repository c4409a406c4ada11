import { z } from 'zod';
import type { Logger } from '../kernel/logger.ts';
import { createHub, type Subscription } from './hub.ts';
import { listen } from './listener.ts';

/**
 * Live signals: the database says that rows changed (NOTIFY, without data), and whoever watches the topic is told.
 * Nothing is kept: what is missed while disconnected is not sent again, and a stream that may have missed something
 * ends with RESYNC_REQUIRED instead of staying silent.
 */
export interface Feed {
  subscribe(topic: string): Subscription;
  /** Whether changes are being heard right now. */
  readonly listening: boolean;
  readonly subscribers: number;
  close(): Promise<void>;
}

const message = z.object({
  topic: z.string(),
  op: z.enum(['insert', 'update', 'delete']),
  ids: z.array(z.string()),
});

export async function openFeed(options: { url: string; log: Logger }): Promise<Feed> {
  const hub = createHub();
  const listener = listen({
    ...options,
    onNotification: (payload) => {
      const heard = readMessage(payload);
      if (heard === null) {
        options.log.warn({ length: payload.length }, 'a notification on the feed channel is not ours');
        return;
      }
      for (const id of heard.ids) hub.publish(heard.topic, { op: heard.op, id });
    },
    onGap: () => hub.interrupt('The gateway lost its database for a moment: query again, then subscribe.'),
  });
  await listener.started;
  return {
    subscribe: (topic) => hub.subscribe(topic),
    get listening() {
      return listener.listening;
    },
    get subscribers() {
      return hub.subscribers;
    },
    close: async () => {
      hub.close();
      await listener.close();
    },
  };
}

/** Anybody with a login may send to a channel: what comes is checked before it is believed. */
function readMessage(payload: string): z.output<typeof message> | null {
  try {
    return message.parse(JSON.parse(payload));
  } catch {
    return null;
  }
}
