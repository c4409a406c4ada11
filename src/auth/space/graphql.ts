import { builder } from '../../graphql/builder.ts';
import { groupedBy, loader } from '../../graphql/loaders.ts';
import { addMutation } from '../../graphql/payload.ts';
import { Principal, ProjectRole, principalLoader } from '../principal/graphql.ts';
import { saveSpace, setSpaceMember } from './service.ts';
import { listSpaceMembers, listSpaces, type SpaceMemberRow, type SpaceRow } from './store.ts';

const SpaceMember = builder.objectRef<SpaceMemberRow>('SpaceMember').implement({
  description: 'A principal with a role in a space.',
  fields: (t) => ({
    principal: t.field({
      type: Principal,
      description: 'Who it is.',
      resolve: async (member, _args, context) => {
        const principal = await principalLoader(context).load(member.principal_id);
        if (principal === null) throw new Error(`member ${member.principal_id} is no principal`);
        return principal;
      },
    }),
    role: t.field({ type: ProjectRole, description: 'What it may do in the space.', resolve: (member) => member.role }),
  }),
});

const Space = builder.objectRef<SpaceRow>('Space').implement({
  description: 'A group of principals that share rows of offline clients.',
  fields: (t) => ({
    id: t.exposeString('id', { description: 'Its key, chosen by who made it.' }),
    name: t.exposeString('name', { description: 'Its name for people.' }),
    members: t.field({
      type: [SpaceMember],
      description: 'Who is in it, in the order they came.',
      resolve: (space, _args, context) =>
        loader<SpaceMemberRow[]>(
          context,
          'space.members',
          async (ids) => groupedBy(await listSpaceMembers(context, ids), (member) => member.space_id),
          [],
        ).load(space.id),
    }),
  }),
});

builder.queryField('spaces', (t) =>
  t.field({
    type: [Space],
    description: 'The spaces that the caller is a member of.',
    resolve: (_root, _args, context) => listSpaces(context),
  }),
);

addMutation<{ id: string; name: string }, { space: SpaceRow }>({
  name: 'saveSpace',
  description: 'Makes a space, whose owner the caller becomes, or renames it as one of its owners.',
  input: builder.inputRef<{ id: string; name: string }>('SaveSpaceInput').implement({
    description: 'A space.',
    fields: (t) => ({
      id: t.string({ required: true, description: '1 to 64 letters, digits, hyphens and underscores.' }),
      name: t.string({ required: true, description: 'Its name for people.' }),
    }),
  }),
  fields: (t) => ({
    space: t.field({ type: Space, nullable: true, description: 'The space.', resolve: (outcome) => outcome.space }),
  }),
  resolve: async (input, context) => {
    const { space, viewer } = await saveSpace(context, input.id, input.name);
    // What the payload selects below the space is read as a member of it.
    context.viewer = viewer;
    return { space };
  },
});

type MemberInput = { space: string; principal: string; role?: 'owner' | 'editor' | 'viewer' | null | undefined };

addMutation<MemberInput, { space: SpaceRow }>({
  name: 'setSpaceMember',
  description: 'Gives a principal a role in a space, or takes it out. Needs an owner of the space; one owner stays.',
  input: builder.inputRef<MemberInput>('SetSpaceMemberInput').implement({
    description: 'Who is to have which role in a space.',
    fields: (t) => ({
      space: t.string({ required: true, description: 'Which space, by its id.' }),
      principal: t.id({ required: true, description: 'Whom it is about.' }),
      role: t.field({ type: ProjectRole, description: 'The role; null takes the principal out.' }),
    }),
  }),
  fields: (t) => ({
    space: t.field({ type: Space, nullable: true, description: 'The space.', resolve: (outcome) => outcome.space }),
  }),
  resolve: async (input, context) => ({ space: await setSpaceMember(context, input) }),
});
