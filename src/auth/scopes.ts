/**
 * What a token may do. The database stores scopes in this spelling; the API shows `REGISTRY_READ` for `registry:read`.
 * Which operation needs which scope is the table in `operations.ts`.
 */
export const scopes = [
  'registry:read',
  'registry:write',
  'chat',
  'sync',
  'triggers:admin',
  'maintenance',
  'admin',
] as const;
export type Scope = (typeof scopes)[number];

export function isScope(text: string): text is Scope {
  return (scopes as readonly string[]).includes(text);
}
