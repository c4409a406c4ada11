import type { Op } from '../feed/event.ts';
import { builder } from './builder.ts';

const changes = { insert: 'created', update: 'updated', delete: 'deleted' } as const;

export function changeOf(op: Op): (typeof changes)[Op] {
  return changes[op];
}

export const Change = builder.enumType('Change', {
  description: 'What happened to a thing.',
  values: {
    CREATED: { value: 'created', description: 'It came.' },
    UPDATED: { value: 'updated', description: 'It changed.' },
    DELETED: { value: 'deleted', description: 'It went.' },
  } as const,
});
