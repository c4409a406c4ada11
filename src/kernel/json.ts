/** Any JSON value, as parsed. */
export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };
