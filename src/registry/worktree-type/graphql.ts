import type { RequestContext } from '../../auth/context.ts';
import { builder } from '../../graphql/builder.ts';
import { loader } from '../../graphql/loaders.ts';
import { addMutation } from '../../graphql/payload.ts';
import type { WorktreeTypeRow } from './model.ts';
import { createWorktreeType, deleteWorktreeType, type NewWorktreeType } from './service.ts';
import { listWorktreeTypes } from './store.ts';

export function worktreeTypeLoader(context: RequestContext) {
  return loader<WorktreeTypeRow | null>(
    context,
    'worktreeType',
    async () => new Map((await listWorktreeTypes(context.db)).map((type) => [String(type.id), type])),
    null,
  );
}

export const WorktreeType = builder.objectRef<WorktreeTypeRow>('WorktreeType').implement({
  description: 'What a worktree is for. Its prefixes let a scanner tell from a branch or a directory.',
  fields: (t) => ({
    id: t.exposeInt('id', { description: 'The key of the row.' }),
    name: t.exposeString('name', { description: 'How it is named in arguments: `feat`, `fix`, …' }),
    branchPrefix: t.exposeString('branch_prefix', {
      description: 'Branches of this type begin with it; may be empty.',
    }),
    worktreePrefix: t.exposeString('worktree_prefix', { description: 'Directories of this type begin with it.' }),
    description: t.exposeString('description', { nullable: true, description: 'What it is for, in words.' }),
    color: t.exposeString('color', { description: 'A colour for it, as #RRGGBB.' }),
    icon: t.exposeString('icon', { nullable: true, description: 'An icon for it, by name.' }),
    isBuiltin: t.exposeBoolean('is_builtin', { description: 'Whether it can be neither renamed nor deleted.' }),
    metadata: t.field({ type: 'JSON', description: 'Anything else, an object.', resolve: (type) => type.metadata }),
  }),
});

builder.queryField('worktreeTypes', (t) =>
  t.field({
    type: [WorktreeType],
    description: 'All worktree types, the built-in ones first. Scope registry:read.',
    resolve: (_root, _args, context) => listWorktreeTypes(context.db),
  }),
);

addMutation<NewWorktreeType, { worktreeType: WorktreeTypeRow }>({
  name: 'createWorktreeType',
  description: 'Adds a worktree type. A taken name answers CONFLICT. Scope registry:write.',
  input: builder.inputType('CreateWorktreeTypeInput', {
    description: 'A new worktree type.',
    fields: (t) => ({
      name: t.string({ required: true, description: 'Lower-case, unique, at most 63 characters.' }),
      branchPrefix: t.string({ required: true, description: 'Branches of this type begin with it; may be empty.' }),
      worktreePrefix: t.string({ required: true, description: 'Directories of this type begin with it.' }),
      description: t.string({ description: 'What it is for, in words.' }),
      color: t.string({ description: 'As #RRGGBB; grey when left out.' }),
      icon: t.string({ description: 'An icon by name.' }),
      metadata: t.field({ type: 'JSON', description: 'Anything else, an object.' }),
    }),
  }),
  fields: (t) => ({
    worktreeType: t.field({
      type: WorktreeType,
      nullable: true,
      description: 'The type that was made.',
      resolve: (outcome) => outcome.worktreeType,
    }),
  }),
  resolve: async (input, context) => ({ worktreeType: await createWorktreeType(context, input) }),
});

addMutation<{ name: string }, { worktreeType: WorktreeTypeRow }>({
  name: 'deleteWorktreeType',
  description: 'Deletes a worktree type. Built in: BUILTIN; worktrees have it: IN_USE. Scope registry:write.',
  input: builder.inputType('DeleteWorktreeTypeInput', {
    description: 'Which worktree type to delete.',
    fields: (t) => ({ name: t.string({ required: true, description: 'The name of the type.' }) }),
  }),
  fields: (t) => ({
    worktreeType: t.field({
      type: WorktreeType,
      nullable: true,
      description: 'The type that was deleted.',
      resolve: (outcome) => outcome.worktreeType,
    }),
  }),
  resolve: async (input, context) => ({ worktreeType: await deleteWorktreeType(context, input.name) }),
});
