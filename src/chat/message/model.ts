import type { FieldColumns } from '../../graphql/selection.ts';
import type { Json } from '../../kernel/json.ts';

export const messageRoles = ['user', 'assistant', 'system'] as const;
export type MessageRole = (typeof messageRoles)[number];

/** A message as it is stored. What was not asked for of its content is left out. */
export interface MessageRow {
  id: string;
  project_id: string;
  /** The client's own. */
  message_id: string;
  /** From 0, without holes. */
  sequence_num: number;
  role: MessageRole;
  content?: unknown;
  annotations?: unknown;
  /** The length of content and annotations as text. */
  bytes: number;
  /** False where there was no room for content and annotations. */
  fits?: boolean;
  author_id: string | null;
  created_at: string;
}

export const messageColumns = [
  'id',
  'project_id',
  'message_id',
  'sequence_num',
  'role',
  'content',
  'annotations',
  'bytes',
  'author_id',
  'created_at',
] as const satisfies readonly (keyof MessageRow)[];

/** Which columns each field of `Message` reads, for queries that fetch only what is selected. */
export const messageFieldColumns = {
  always: ['id', 'project_id', 'message_id', 'sequence_num', 'role', 'bytes', 'author_id', 'created_at'],
  byField: { content: ['content'], annotations: ['annotations'] },
} as const satisfies FieldColumns<keyof MessageRow>;

/** What a client wants to append. */
export interface NewMessage {
  messageId: string;
  role: MessageRole;
  /** A string, an array of parts, or an object. */
  content?: Json | undefined;
  annotations?: Json | undefined;
  createdAt?: string | null | undefined;
}

/** What became of one message of a batch. */
export interface Receipt extends MessageRow {
  /** Now, by this batch. */
  inserted: boolean;
  /** Something else is stored under its id since before. */
  differs: boolean;
}

/** How far a chat has come. */
export interface Progress {
  /** The number that the next message gets. */
  next_sequence: number;
  /** The last message that was cleared; null: none ever was. */
  cleared_through: number | null;
}

/**
 * A chat's messages and clearings in one order, as whole numbers: a message stands at twice its number, and the clearing of
 * everything up to a message right after it.
 */
export const inOrder = {
  ofMessage: (sequenceNum: number): number => 2 * sequenceNum,
  ofClearing: (clearedThrough: number): number => 2 * clearedThrough + 1,
  /** The last message at or before a place in that order; -1: none. */
  lastMessage: (number: number): number => Math.floor(number / 2),
};

/** How much content one page holds at most, in bytes; with its last message it may be more. */
export const pageBytes = 8_000_000;
