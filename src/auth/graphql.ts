/** What the schema `auth` shows in the API. */
import './principal/graphql.ts';
import './token/graphql.ts';
import './space/graphql.ts';
