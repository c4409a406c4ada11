import type { Json } from '../../kernel/json.ts';

/** What is known of a snapshot without its files. */
export interface SnapshotRow {
  project_id: string;
  summary: string | null;
  /** The length of the files as text. */
  bytes: number;
  created_at: string;
  updated_at: string;
  /** Left out where they were not asked for, or are more than fit. */
  files?: unknown;
  fits?: boolean;
}

export interface NewSnapshot {
  files?: Json | undefined;
  summary?: string | null | undefined;
}

/** Largest files that GraphQL takes, as JSON without spaces: beyond, they come as a document by themselves. */
export const mostInlineBytes = 8_000_000;

/**
 * How much of files one operation reads through GraphQL: written out they are longer than they came, and what was put
 * through GraphQL can be read through it.
 */
export const mostInlineReadBytes = 2 * mostInlineBytes;

/** Largest document. */
export const mostDocumentBytes = 50_000_000;
