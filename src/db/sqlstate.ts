/** The SQLSTATEs that the gateway tells apart, by PostgreSQL's own names for them. */
export const sqlstate = {
  /** Also what a SELECT from a table of a missing schema gets. */
  undefinedTable: '42P01',
  invalidPassword: '28P01',
  invalidAuthorization: '28000',
  insufficientPrivilege: '42501',
  invalidCatalogName: '3D000',
} as const;
