import { asPrincipal } from './as-principal.ts';

/**
 * The chat's statements without a gateway. Each takes the principal as $1 and the project as $2, and answers one row, with
 * the text `body`.
 */

/** Takes the messages as $3, as JSON. */
export const appendMessages = {
  name: 'append-messages',
  text: asPrincipal(`(
    select json_build_object('insertedCount', inserted_count, 'messages', messages)::text as body
    from chat.append_project_messages($2::uuid, $3::jsonb)
  ) as appended`),
};

/** Answers the JSON that the gateway does. */
export const openChat = {
  name: 'open-chat',
  text: asPrincipal(`(
    select json_build_object('data', json_build_object('project', json_build_object('messages', json_build_object(
      'nodes', coalesce(page.nodes, '[]'),
      'pageInfo', json_build_object(
        'hasPreviousPage', exists (
          select from chat.project_messages m where m.project_id = $2::uuid and m.sequence_num < page.start
        ),
        'startCursor', page.start::text
      )
    ))))::text as body
    from (
      select min(m.sequence_num) as start, json_agg(json_build_object(
        'messageId', m.message_id, 'sequenceNum', m.sequence_num, 'role', upper(m.role), 'content', m.content,
        'createdAt', m.created_at
      ) order by m.sequence_num) as nodes
      from (
        select m.message_id, m.sequence_num, m.role, m.content, m.created_at from chat.project_messages m
        where m.project_id = $2::uuid order by m.sequence_num desc limit 50
      ) m
    ) page
  ) as opened`),
};
