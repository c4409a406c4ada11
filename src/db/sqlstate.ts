/** The SQLSTATEs that the start of a gateway tells apart, by PostgreSQL's own names for them. */
export const sqlstate = {
  /** Also what a SELECT from a table of a missing schema gets. */
  undefinedTable: '42P01',
  /** A class: wrong password, no such role, no entry in pg_hba.conf. */
  invalidAuthorizationClass: '28',
  /** No such database. */
  invalidCatalogName: '3D000',
} as const;
