/** A statement that ends when a session of this database waits for another one's transaction to end. */
export const untilSomebodyWaits = `do $$ begin
  while not exists (
    select from pg_stat_activity a join pg_locks l on l.pid = a.pid
    where a.datname = current_database() and not l.granted and l.locktype = 'transactionid'
  ) loop
    perform pg_sleep(0.01);
    perform pg_stat_clear_snapshot();
  end loop;
end $$`;
