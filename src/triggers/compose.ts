import type { DocumentNode, GraphQLSchema } from 'graphql';
import type { RequestContext } from '../auth/context.ts';
import type { Database } from '../db/database.ts';
import type { Feed } from '../feed/feed.ts';
import type { Logger } from '../kernel/logger.ts';
import type { RetrySettings, TriggersContext } from './context.ts';
import { type Dispatcher, type DispatcherEvents, startDispatcher } from './dispatcher/dispatcher.ts';
import { createOperations, type OperationsOptions } from './dispatcher/operation.ts';
import { createReplies, repliesChannel } from './dispatcher/replies.ts';
import { createChecks } from './expression/checks.ts';
import { createExpressions } from './expression/expressions.ts';
import { createDocuments } from './script/document.ts';
import { createWebhooks } from './webhook/webhook.ts';

/** Channels that the feed has to hear for it. */
export const triggerChannels: readonly string[] = [
  'treeline_outbox',
  'treeline_triggers',
  'treeline_candidates',
  repliesChannel,
];

/** The parts of triggers that a gateway is made of: what requests need of it, and the dispatcher. */
export interface Triggers {
  context: TriggersContext;
  /** Begins to run what waits. Not called by a gateway that leaves that to others. */
  startDispatcher(events: DispatcherEvents): Dispatcher;
  close(): Promise<void>;
}

export interface TriggersOptions {
  schema: GraphQLSchema;
  database: Database;
  feed: Feed;
  log: Logger;
  /** Parses within the gateway's limits. */
  parse: (text: string) => DocumentNode;
  refuseCost: OperationsOptions['refuseCost'];
  makeContext: OperationsOptions['makeContext'];
  toClientError: (error: unknown, context: RequestContext) => ReturnType<OperationsOptions['toClientError']>;
  retryDefaults: RetrySettings;
  maxDepth: number;
  leaseMs: number;
  patienceMs: number;
  /** Networks that webhooks may reach although private. */
  webhookAllow: readonly string[];
}

export function createTriggers(options: TriggersOptions): Triggers {
  const { schema, database, feed } = options;
  const documents = createDocuments(schema, options.parse);
  const replies = createReplies(feed);
  const checks = createChecks();
  let closeDispatching = async () => {};
  return {
    context: {
      retryDefaults: options.retryDefaults,
      maxDepth: options.maxDepth,
      checkDocument: documents.check,
      checks,
      replies,
    },
    startDispatcher(events) {
      const webhooks = createWebhooks({ allow: options.webhookAllow });
      const expressions = createExpressions();
      const conditions = createExpressions();
      const dispatcher = startDispatcher({
        ...options,
        pool: database.ownerPool,
        operations: createOperations({ ...options, documents }),
        webhooks,
        expressions,
        conditions,
        // The other half of the connections is left to requests.
        concurrency: Math.max(1, Math.floor((database.runtimePool.options.max ?? 10) / 2)),
        events,
      });
      closeDispatching = async () => {
        await dispatcher.stop();
        await Promise.all([webhooks.close(), expressions.close(), conditions.close()]);
      };
      return dispatcher;
    },
    close: async () => {
      await closeDispatching();
      replies.close();
      await checks.close();
    },
  };
}
