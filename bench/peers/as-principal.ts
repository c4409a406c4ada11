/** How a connection of request work begins. */
export const runtimeOptions = '-c role=treeline_runtime -c timezone=UTC -c jit=off';

/**
 * A call without a gateway: one round trip, and whoever asks, which is $1, is told in the statement itself, as the gateway
 * does.
 */
export const asPrincipal = (call: string) => `
  select result.body
  from (
    select case when length(
      set_config('app.current_user_id', $1, true)
      || set_config('app.current_user_space_ids', '', true)
      || set_config('app.current_user_scopes', 'registry:read,chat,sync', true)
      || set_config('feed.notify', 'after_commit', true)
    ) < 0 then 0::bigint end as unlimited
    offset 0
  ) as asking
  cross join lateral (select * from ${call} limit asking.unlimited) as result`;
