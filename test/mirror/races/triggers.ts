/**
 * Triggers of others on both tables, which write while the mirror is at it: before and after it, the same project and
 * another one. Each comes to rest: it writes nothing when there is nothing left for it to do.
 */
export const othersTriggers = `
create schema others;
grant usage on schema others to public;

create function others.trim_name() returns trigger language plpgsql as $$
begin
  new.name := btrim(new.name);
  return new;
end $$;
create trigger a_trim_name before insert or update on registry.projects for each row execute function others.trim_name();

create function others.tag() returns trigger language plpgsql as $$
begin
  update registry.projects p set metadata = p.metadata || '{"tagged": true}' where p.id = new.id and not p.metadata ? 'tagged';
  return null;
end $$;
-- By their names, one before the mirror's and one after it.
create trigger a_tag after insert or update on registry.projects
  for each row when (new.description = 'tag me') execute function others.tag();
create trigger z_tag after update of status on registry.projects
  for each row when (new.status = 'published') execute function others.tag();

create function others.pass_on() returns trigger language plpgsql as $$
begin
  update registry.projects p set description = 'passed on' where p.slug = 'p0' and p.description is distinct from 'passed on';
  return null;
end $$;
create trigger a_pass_on after update of name on registry.projects
  for each row when (new.name = 'pass on' and old.name <> new.name) execute function others.pass_on();

create function others.lower_path() returns trigger language plpgsql as $$
begin
  new.path := lower(new.path);
  return new;
end $$;
create trigger a_lower_path before insert or update of path on mai.projects for each row execute function others.lower_path();

create function others.group() returns trigger language plpgsql as $$
begin
  update mai.projects r set memory_group = 'grouped' where r.id = new.id and r.memory_group = '';
  return null;
end $$;
create trigger a_group after insert or update on mai.projects
  for each row when (new.goal = 'tag me') execute function others.group();
create trigger z_group after update of status on mai.projects
  for each row when (new.status = 'done') execute function others.group();

create function others.pass_on_there() returns trigger language plpgsql as $$
begin
  update mai.projects r set goal = 'passed on' where r.id = 'p1' and r.goal <> 'passed on';
  return null;
end $$;
create trigger z_pass_on after update of name on mai.projects
  for each row when (new.name = 'pass on' and old.name <> new.name) execute function others.pass_on_there();
`;
