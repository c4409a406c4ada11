/* eslint-disable */
import * as types from './graphql.ts';



/**
 * Map of all GraphQL operations in the project.
 *
 * This map has several performance disadvantages:
 * 1. It is not tree-shakeable, so it will include all operations in the project.
 * 2. It is not minifiable, so the string of a GraphQL query will be multiple times inside the bundle.
 * 3. It does not support dead code elimination, so it will add unused operations.
 *
 * Therefore it is highly recommended to use the babel or swc plugin for production.
 * Learn more about it here: https://the-guild.dev/graphql/codegen/plugins/presets/preset-client#reducing-bundle-size
 */
type Documents = {
    "\n  query FeedNames($ids: [ID!]!) {\n    nodes(ids: $ids) {\n      id\n      ... on Project { slug }\n      ... on Worktree { name }\n    }\n  }\n": typeof types.FeedNamesDocument,
    "\n  query InFlightWork($after: String) {\n    inFlightWork(first: 100, after: $after) {\n      nodes {\n        name\n        branchName\n        path\n        status\n        agentId\n        agentState\n        gitState { uncommittedFilesCount aheadOfTrunk behindTrunk lastCommitAt lastSyncAt }\n        project { name slug }\n        type { name }\n        host { name }\n        claim { agentId expiresAt }\n      }\n      pageInfo { hasNextPage endCursor }\n    }\n  }\n": typeof types.InFlightWorkDocument,
    "\n  query MirrorState($first: Int!) {\n    mirrorStatus {\n      attached\n      problems { problem statement }\n      projectCount\n      rowCount\n      unclassifiedCount\n    }\n    mirrorDrift(first: $first) {\n      project { slug }\n      maiId\n      field\n      ours\n      theirs\n    }\n  }\n": typeof types.MirrorStateDocument,
    "\n  query MirrorStatus {\n    mirrorStatus {\n      attached\n      problems { problem statement }\n      projectCount\n      rowCount\n    }\n  }\n": typeof types.MirrorStatusDocument,
    "\n  mutation ReconcileMirror($input: ReconcileMirrorInput!) {\n    reconcileMirror(input: $input) {\n      changedCount\n      examinedCount\n      hasMore\n      endCursor\n      userErrors { message }\n    }\n  }\n": typeof types.ReconcileMirrorDocument,
    "\n  query MirroredProject($slug: String!) {\n    project(by: { slug: $slug }) { id }\n  }\n": typeof types.MirroredProjectDocument,
    "\n  query Tokens {\n    viewer {\n      principal { handle }\n      tokens { id name scopes createdAt expiresAt lastUsedAt revokedAt }\n    }\n  }\n": typeof types.TokensDocument,
    "\n  mutation CreateToken($input: CreateTokenInput!) {\n    createToken(input: $input) {\n      token\n      record { id name scopes expiresAt }\n      userErrors { code message }\n    }\n  }\n": typeof types.CreateTokenDocument,
    "\n  mutation RevokeToken($input: RevokeTokenInput!) {\n    revokeToken(input: $input) {\n      token { name revokedAt }\n      userErrors { code message }\n    }\n  }\n": typeof types.RevokeTokenDocument,
    "\n  subscription FeedEvents($topics: [String!], $project: ProjectRef, $after: Cursor!) {\n    events(topics: $topics, project: $project, after: $after) {\n      cursor\n      at\n      topic\n      op\n      entityId\n      projectId\n      agentId\n      principalId\n      changed\n      depth\n      data\n    }\n  }\n": typeof types.FeedEventsDocument,
    "\n  query FeedCursor {\n    cursor\n  }\n": typeof types.FeedCursorDocument,
    "\n  mutation ReportRepository($input: ReportWorktreesInput!) {\n    reportWorktrees(input: $input) {\n      project { slug }\n      worktrees { id status inFlight }\n      userErrors { code message path }\n    }\n  }\n": typeof types.ReportRepositoryDocument,
    "\n  query WorktreeTypePrefixes {\n    worktreeTypes { name branchPrefix worktreePrefix }\n  }\n": typeof types.WorktreeTypePrefixesDocument,
    "\n  query KnownWorktrees($host: String!, $after: String) {\n    worktrees(filter: { host: $host, active: true }, orderBy: NAME_ASC, first: 100, after: $after) {\n      nodes { repositoryPath project { name slug remoteOrigin } }\n      pageInfo { hasNextPage endCursor }\n    }\n  }\n": typeof types.KnownWorktreesDocument,
    "\n  mutation ReportVanishedRepository($input: ReportWorktreesInput!) {\n    reportWorktrees(input: $input) {\n      project { slug }\n      userErrors { code message path }\n    }\n  }\n": typeof types.ReportVanishedRepositoryDocument,
    "\n  subscription SyncChanged($appId: String!, $tables: [String!], $excludeClientId: String, $after: Cursor!) {\n    syncChanged(appId: $appId, tables: $tables, excludeClientId: $excludeClientId, after: $after) {\n      changes {\n        ...SentChange\n      }\n      cursor\n    }\n  }\n": typeof types.SyncChangedDocument,
    "\n  fragment SentChange on SyncChange {\n    position\n    table\n    recordId\n    spaceId\n    op\n    data\n    fieldMeta\n    schemaVersion\n    createdAt\n  }\n": typeof types.SentChangeFragmentDoc,
    "\n  query SyncPull($appId: String!, $tables: [String!], $since: Cursor, $excludeClientId: String, $first: Int) {\n    syncChanges(appId: $appId, tables: $tables, since: $since, excludeClientId: $excludeClientId, first: $first) {\n      changes {\n        ...SentChange\n      }\n      cursor\n      hasMore\n    }\n  }\n": typeof types.SyncPullDocument,
    "\n  query SyncRecords($appId: String!, $table: String!, $first: Int, $after: String) {\n    syncRecords(appId: $appId, table: $table, first: $first, after: $after) {\n      nodes {\n        table\n        recordId\n        spaceId\n        data\n        fieldMeta\n        fieldPositions\n        schemaVersion\n        cursor\n        write {\n          at\n          position\n        }\n        deletion {\n          at\n          position\n        }\n      }\n      pageInfo {\n        hasNextPage\n        endCursor\n      }\n    }\n  }\n": typeof types.SyncRecordsDocument,
    "\n  mutation SyncPush($input: PushChangesInput!) {\n    pushChanges(input: $input) {\n      accepted {\n        changeId\n        position\n      }\n      userErrors {\n        code\n        message\n        path\n      }\n    }\n  }\n": typeof types.SyncPushDocument,
    "\n  mutation ClaimForTest($input: ClaimWorktreeInput!) {\n    claimWorktree(input: $input) {\n      claim { agentId session fence expiresAt }\n      worktree { agentId claim { fence } }\n      userErrors { code message details }\n    }\n  }\n": typeof types.ClaimForTestDocument,
    "\n  mutation RenewForTest($input: RenewClaimInput!) {\n    renewClaim(input: $input) { claim { fence expiresAt } userErrors { code } }\n  }\n": typeof types.RenewForTestDocument,
    "\n  mutation ReleaseForTest($input: ReleaseWorktreeInput!) {\n    releaseWorktree(input: $input) { worktree { claim { fence } } userErrors { code } }\n  }\n": typeof types.ReleaseForTestDocument,
    "\n  query ClaimedForTest($claimed: Boolean!) {\n    worktrees(filter: { claimed: $claimed }) { nodes { name } }\n  }\n": typeof types.ClaimedForTestDocument,
};
const documents: Documents = {
    "\n  query FeedNames($ids: [ID!]!) {\n    nodes(ids: $ids) {\n      id\n      ... on Project { slug }\n      ... on Worktree { name }\n    }\n  }\n": types.FeedNamesDocument,
    "\n  query InFlightWork($after: String) {\n    inFlightWork(first: 100, after: $after) {\n      nodes {\n        name\n        branchName\n        path\n        status\n        agentId\n        agentState\n        gitState { uncommittedFilesCount aheadOfTrunk behindTrunk lastCommitAt lastSyncAt }\n        project { name slug }\n        type { name }\n        host { name }\n        claim { agentId expiresAt }\n      }\n      pageInfo { hasNextPage endCursor }\n    }\n  }\n": types.InFlightWorkDocument,
    "\n  query MirrorState($first: Int!) {\n    mirrorStatus {\n      attached\n      problems { problem statement }\n      projectCount\n      rowCount\n      unclassifiedCount\n    }\n    mirrorDrift(first: $first) {\n      project { slug }\n      maiId\n      field\n      ours\n      theirs\n    }\n  }\n": types.MirrorStateDocument,
    "\n  query MirrorStatus {\n    mirrorStatus {\n      attached\n      problems { problem statement }\n      projectCount\n      rowCount\n    }\n  }\n": types.MirrorStatusDocument,
    "\n  mutation ReconcileMirror($input: ReconcileMirrorInput!) {\n    reconcileMirror(input: $input) {\n      changedCount\n      examinedCount\n      hasMore\n      endCursor\n      userErrors { message }\n    }\n  }\n": types.ReconcileMirrorDocument,
    "\n  query MirroredProject($slug: String!) {\n    project(by: { slug: $slug }) { id }\n  }\n": types.MirroredProjectDocument,
    "\n  query Tokens {\n    viewer {\n      principal { handle }\n      tokens { id name scopes createdAt expiresAt lastUsedAt revokedAt }\n    }\n  }\n": types.TokensDocument,
    "\n  mutation CreateToken($input: CreateTokenInput!) {\n    createToken(input: $input) {\n      token\n      record { id name scopes expiresAt }\n      userErrors { code message }\n    }\n  }\n": types.CreateTokenDocument,
    "\n  mutation RevokeToken($input: RevokeTokenInput!) {\n    revokeToken(input: $input) {\n      token { name revokedAt }\n      userErrors { code message }\n    }\n  }\n": types.RevokeTokenDocument,
    "\n  subscription FeedEvents($topics: [String!], $project: ProjectRef, $after: Cursor!) {\n    events(topics: $topics, project: $project, after: $after) {\n      cursor\n      at\n      topic\n      op\n      entityId\n      projectId\n      agentId\n      principalId\n      changed\n      depth\n      data\n    }\n  }\n": types.FeedEventsDocument,
    "\n  query FeedCursor {\n    cursor\n  }\n": types.FeedCursorDocument,
    "\n  mutation ReportRepository($input: ReportWorktreesInput!) {\n    reportWorktrees(input: $input) {\n      project { slug }\n      worktrees { id status inFlight }\n      userErrors { code message path }\n    }\n  }\n": types.ReportRepositoryDocument,
    "\n  query WorktreeTypePrefixes {\n    worktreeTypes { name branchPrefix worktreePrefix }\n  }\n": types.WorktreeTypePrefixesDocument,
    "\n  query KnownWorktrees($host: String!, $after: String) {\n    worktrees(filter: { host: $host, active: true }, orderBy: NAME_ASC, first: 100, after: $after) {\n      nodes { repositoryPath project { name slug remoteOrigin } }\n      pageInfo { hasNextPage endCursor }\n    }\n  }\n": types.KnownWorktreesDocument,
    "\n  mutation ReportVanishedRepository($input: ReportWorktreesInput!) {\n    reportWorktrees(input: $input) {\n      project { slug }\n      userErrors { code message path }\n    }\n  }\n": types.ReportVanishedRepositoryDocument,
    "\n  subscription SyncChanged($appId: String!, $tables: [String!], $excludeClientId: String, $after: Cursor!) {\n    syncChanged(appId: $appId, tables: $tables, excludeClientId: $excludeClientId, after: $after) {\n      changes {\n        ...SentChange\n      }\n      cursor\n    }\n  }\n": types.SyncChangedDocument,
    "\n  fragment SentChange on SyncChange {\n    position\n    table\n    recordId\n    spaceId\n    op\n    data\n    fieldMeta\n    schemaVersion\n    createdAt\n  }\n": types.SentChangeFragmentDoc,
    "\n  query SyncPull($appId: String!, $tables: [String!], $since: Cursor, $excludeClientId: String, $first: Int) {\n    syncChanges(appId: $appId, tables: $tables, since: $since, excludeClientId: $excludeClientId, first: $first) {\n      changes {\n        ...SentChange\n      }\n      cursor\n      hasMore\n    }\n  }\n": types.SyncPullDocument,
    "\n  query SyncRecords($appId: String!, $table: String!, $first: Int, $after: String) {\n    syncRecords(appId: $appId, table: $table, first: $first, after: $after) {\n      nodes {\n        table\n        recordId\n        spaceId\n        data\n        fieldMeta\n        fieldPositions\n        schemaVersion\n        cursor\n        write {\n          at\n          position\n        }\n        deletion {\n          at\n          position\n        }\n      }\n      pageInfo {\n        hasNextPage\n        endCursor\n      }\n    }\n  }\n": types.SyncRecordsDocument,
    "\n  mutation SyncPush($input: PushChangesInput!) {\n    pushChanges(input: $input) {\n      accepted {\n        changeId\n        position\n      }\n      userErrors {\n        code\n        message\n        path\n      }\n    }\n  }\n": types.SyncPushDocument,
    "\n  mutation ClaimForTest($input: ClaimWorktreeInput!) {\n    claimWorktree(input: $input) {\n      claim { agentId session fence expiresAt }\n      worktree { agentId claim { fence } }\n      userErrors { code message details }\n    }\n  }\n": types.ClaimForTestDocument,
    "\n  mutation RenewForTest($input: RenewClaimInput!) {\n    renewClaim(input: $input) { claim { fence expiresAt } userErrors { code } }\n  }\n": types.RenewForTestDocument,
    "\n  mutation ReleaseForTest($input: ReleaseWorktreeInput!) {\n    releaseWorktree(input: $input) { worktree { claim { fence } } userErrors { code } }\n  }\n": types.ReleaseForTestDocument,
    "\n  query ClaimedForTest($claimed: Boolean!) {\n    worktrees(filter: { claimed: $claimed }) { nodes { name } }\n  }\n": types.ClaimedForTestDocument,
};

/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  query FeedNames($ids: [ID!]!) {\n    nodes(ids: $ids) {\n      id\n      ... on Project { slug }\n      ... on Worktree { name }\n    }\n  }\n"): typeof import('./graphql.ts').FeedNamesDocument;
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  query InFlightWork($after: String) {\n    inFlightWork(first: 100, after: $after) {\n      nodes {\n        name\n        branchName\n        path\n        status\n        agentId\n        agentState\n        gitState { uncommittedFilesCount aheadOfTrunk behindTrunk lastCommitAt lastSyncAt }\n        project { name slug }\n        type { name }\n        host { name }\n        claim { agentId expiresAt }\n      }\n      pageInfo { hasNextPage endCursor }\n    }\n  }\n"): typeof import('./graphql.ts').InFlightWorkDocument;
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  query MirrorState($first: Int!) {\n    mirrorStatus {\n      attached\n      problems { problem statement }\n      projectCount\n      rowCount\n      unclassifiedCount\n    }\n    mirrorDrift(first: $first) {\n      project { slug }\n      maiId\n      field\n      ours\n      theirs\n    }\n  }\n"): typeof import('./graphql.ts').MirrorStateDocument;
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  query MirrorStatus {\n    mirrorStatus {\n      attached\n      problems { problem statement }\n      projectCount\n      rowCount\n    }\n  }\n"): typeof import('./graphql.ts').MirrorStatusDocument;
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  mutation ReconcileMirror($input: ReconcileMirrorInput!) {\n    reconcileMirror(input: $input) {\n      changedCount\n      examinedCount\n      hasMore\n      endCursor\n      userErrors { message }\n    }\n  }\n"): typeof import('./graphql.ts').ReconcileMirrorDocument;
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  query MirroredProject($slug: String!) {\n    project(by: { slug: $slug }) { id }\n  }\n"): typeof import('./graphql.ts').MirroredProjectDocument;
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  query Tokens {\n    viewer {\n      principal { handle }\n      tokens { id name scopes createdAt expiresAt lastUsedAt revokedAt }\n    }\n  }\n"): typeof import('./graphql.ts').TokensDocument;
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  mutation CreateToken($input: CreateTokenInput!) {\n    createToken(input: $input) {\n      token\n      record { id name scopes expiresAt }\n      userErrors { code message }\n    }\n  }\n"): typeof import('./graphql.ts').CreateTokenDocument;
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  mutation RevokeToken($input: RevokeTokenInput!) {\n    revokeToken(input: $input) {\n      token { name revokedAt }\n      userErrors { code message }\n    }\n  }\n"): typeof import('./graphql.ts').RevokeTokenDocument;
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  subscription FeedEvents($topics: [String!], $project: ProjectRef, $after: Cursor!) {\n    events(topics: $topics, project: $project, after: $after) {\n      cursor\n      at\n      topic\n      op\n      entityId\n      projectId\n      agentId\n      principalId\n      changed\n      depth\n      data\n    }\n  }\n"): typeof import('./graphql.ts').FeedEventsDocument;
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  query FeedCursor {\n    cursor\n  }\n"): typeof import('./graphql.ts').FeedCursorDocument;
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  mutation ReportRepository($input: ReportWorktreesInput!) {\n    reportWorktrees(input: $input) {\n      project { slug }\n      worktrees { id status inFlight }\n      userErrors { code message path }\n    }\n  }\n"): typeof import('./graphql.ts').ReportRepositoryDocument;
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  query WorktreeTypePrefixes {\n    worktreeTypes { name branchPrefix worktreePrefix }\n  }\n"): typeof import('./graphql.ts').WorktreeTypePrefixesDocument;
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  query KnownWorktrees($host: String!, $after: String) {\n    worktrees(filter: { host: $host, active: true }, orderBy: NAME_ASC, first: 100, after: $after) {\n      nodes { repositoryPath project { name slug remoteOrigin } }\n      pageInfo { hasNextPage endCursor }\n    }\n  }\n"): typeof import('./graphql.ts').KnownWorktreesDocument;
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  mutation ReportVanishedRepository($input: ReportWorktreesInput!) {\n    reportWorktrees(input: $input) {\n      project { slug }\n      userErrors { code message path }\n    }\n  }\n"): typeof import('./graphql.ts').ReportVanishedRepositoryDocument;
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  subscription SyncChanged($appId: String!, $tables: [String!], $excludeClientId: String, $after: Cursor!) {\n    syncChanged(appId: $appId, tables: $tables, excludeClientId: $excludeClientId, after: $after) {\n      changes {\n        ...SentChange\n      }\n      cursor\n    }\n  }\n"): typeof import('./graphql.ts').SyncChangedDocument;
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  fragment SentChange on SyncChange {\n    position\n    table\n    recordId\n    spaceId\n    op\n    data\n    fieldMeta\n    schemaVersion\n    createdAt\n  }\n"): typeof import('./graphql.ts').SentChangeFragmentDoc;
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  query SyncPull($appId: String!, $tables: [String!], $since: Cursor, $excludeClientId: String, $first: Int) {\n    syncChanges(appId: $appId, tables: $tables, since: $since, excludeClientId: $excludeClientId, first: $first) {\n      changes {\n        ...SentChange\n      }\n      cursor\n      hasMore\n    }\n  }\n"): typeof import('./graphql.ts').SyncPullDocument;
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  query SyncRecords($appId: String!, $table: String!, $first: Int, $after: String) {\n    syncRecords(appId: $appId, table: $table, first: $first, after: $after) {\n      nodes {\n        table\n        recordId\n        spaceId\n        data\n        fieldMeta\n        fieldPositions\n        schemaVersion\n        cursor\n        write {\n          at\n          position\n        }\n        deletion {\n          at\n          position\n        }\n      }\n      pageInfo {\n        hasNextPage\n        endCursor\n      }\n    }\n  }\n"): typeof import('./graphql.ts').SyncRecordsDocument;
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  mutation SyncPush($input: PushChangesInput!) {\n    pushChanges(input: $input) {\n      accepted {\n        changeId\n        position\n      }\n      userErrors {\n        code\n        message\n        path\n      }\n    }\n  }\n"): typeof import('./graphql.ts').SyncPushDocument;
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  mutation ClaimForTest($input: ClaimWorktreeInput!) {\n    claimWorktree(input: $input) {\n      claim { agentId session fence expiresAt }\n      worktree { agentId claim { fence } }\n      userErrors { code message details }\n    }\n  }\n"): typeof import('./graphql.ts').ClaimForTestDocument;
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  mutation RenewForTest($input: RenewClaimInput!) {\n    renewClaim(input: $input) { claim { fence expiresAt } userErrors { code } }\n  }\n"): typeof import('./graphql.ts').RenewForTestDocument;
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  mutation ReleaseForTest($input: ReleaseWorktreeInput!) {\n    releaseWorktree(input: $input) { worktree { claim { fence } } userErrors { code } }\n  }\n"): typeof import('./graphql.ts').ReleaseForTestDocument;
/**
 * The graphql function is used to parse GraphQL queries into a document that can be used by GraphQL clients.
 */
export function graphql(source: "\n  query ClaimedForTest($claimed: Boolean!) {\n    worktrees(filter: { claimed: $claimed }) { nodes { name } }\n  }\n"): typeof import('./graphql.ts').ClaimedForTestDocument;


export function graphql(source: string) {
  return (documents as any)[source] ?? {};
}
