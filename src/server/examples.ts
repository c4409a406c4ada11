/**
 * The operations that GraphiQL opens with, each in a tab of its own: what a newcomer asks first, in the order in which it
 * makes sense. A test validates every one against the schema.
 */
export interface Example {
  query: string;
  variables?: Readonly<Record<string, unknown>>;
}

export const examples: readonly Example[] = [
  {
    query: `# What is in flight: uncommitted files or commits that have not landed, on every host.
# Press the play button, or Ctrl+Enter. Ctrl+Space completes; the book on the left documents everything.
query InFlight {
  inFlightWork(first: 50) {
    nodes {
      name
      branchName
      status
      agentId
      agentState
      gitState { uncommittedFilesCount aheadOfTrunk behindTrunk lastCommitMessage lastCommitAt }
      project { name slug }
      type { name color }
      host { name }
      activities(first: 3) { nodes { type description createdAt } }
    }
    pageInfo { hasNextPage endCursor }
  }
}
`,
  },
  {
    query: `# Registers a project and a first worktree of it. Run it twice: nothing is doubled.
mutation Register($project: RegisterProjectInput!, $worktree: RegisterWorktreeInput!) {
  registerProject(input: $project) {
    created
    project { id slug remoteKey }
    userErrors { code message path }
  }
  registerWorktree(input: $worktree) {
    created
    worktree { id name status }
    userErrors { code message path }
  }
}
`,
    variables: {
      project: {
        name: 'Example',
        remoteOrigin: 'git@github.com:example/example.git',
        trunkPath: '/srv/checkouts/example',
      },
      worktree: {
        project: { remote: 'https://github.com/example/example' },
        type: 'feat',
        name: 'feat-hello',
        branchName: 'feat/hello',
        path: '/srv/checkouts/feat-hello',
        agentId: 'agent-1',
      },
    },
  },
  {
    query: `# What an agent does many times a minute: it says what git says. Left out means unchanged.
mutation Report($report: UpdateWorktreeGitStateInput!) {
  updateWorktreeGitState(input: $report) {
    changed
    worktree { name status inFlight gitState { uncommittedFilesCount aheadOfTrunk } }
    userErrors { code message details }
  }
}
`,
    variables: {
      report: { worktree: { path: { path: '/srv/checkouts/feat-hello' } }, uncommittedFilesCount: 3, aheadOfTrunk: 1 },
    },
  },
  {
    query: `# Work in flight as it comes, changes and goes, live. Start it, then run the report of the tab before with other
# numbers. With the cursor of an earlier update, or of the query { cursor }, as "after" in the variables, it begins with
# what came after that.
subscription InFlightLive($after: Cursor) {
  inFlightWork(after: $after) {
    cursor
    presence
    worktreeId
    worktree { name status project { name } gitState { uncommittedFilesCount aheadOfTrunk } }
  }
}
`,
    variables: { after: null },
  },
  {
    query: `# Worktrees as they change, live. Start it, then run the report of the tab before the last with other numbers.
subscription Watch {
  worktreeChanged {
    change
    changedFields
    worktree { name status project { name } gitState { uncommittedFilesCount aheadOfTrunk } }
  }
}
`,
  },
  {
    query: `# Says something in a project's chat. Run it twice: what has the same messageId is one message. A chat is for the
# project's owner and members, and whoever registered it owns it.
mutation Say($chat: AppendMessagesInput!) {
  appendMessages(input: $chat) {
    insertedCount
    messages { sequenceNum role content }
    userErrors { code message path }
  }
}
`,
    variables: {
      chat: {
        project: { remote: 'https://github.com/example/example' },
        messages: [
          { messageId: 'm1', role: 'USER', content: 'Why is the total wrong?' },
          { messageId: 'm2', role: 'ASSISTANT', content: [{ type: 'text', text: 'The tax is added twice.' }] },
        ],
      },
    },
  },
  {
    query: `# A chat as it goes on, live. It begins with what came after the message of that number; with null, with what comes now.
subscription Chat($afterSequence: Int) {
  messageAppended(project: { remote: "https://github.com/example/example" }, afterSequence: $afterSequence) {
    cursor
    change
    message { sequenceNum role content author { handle } createdAt }
    clearedThrough
  }
}
`,
    variables: { afterSequence: -1 },
  },
  {
    query: `# Stores what a client changed while it was offline. Run it twice: a change that is stored under its changeId counts
# as accepted.
mutation Push($push: PushChangesInput!) {
  pushChanges(input: $push) {
    accepted { changeId position duplicate }
    cursor
    userErrors { code message path }
  }
}
`,
    variables: {
      push: {
        appId: 'notes',
        clientId: 'phone',
        changes: [
          { changeId: 'c1', table: 'note', recordId: 'n1', op: 'INSERT', data: { title: 'Milk', done: false } },
          { changeId: 'c2', table: 'note', recordId: 'n1', op: 'UPDATE', data: { done: true } },
        ],
      },
    },
  },
  {
    query: `# What has changed since a cursor, and each record as all changes together make it. Go on with the cursor of the page.
query Pull($since: Cursor) {
  syncChanges(appId: "notes", since: $since) {
    changes { table recordId op data fieldMeta clientId position createdAt }
    cursor
    hasMore
  }
  syncRecords(appId: "notes", table: "note") {
    nodes { recordId data fieldMeta deletedAt cursor }
    pageInfo { hasNextPage endCursor }
  }
}
`,
    variables: { since: null },
  },
  {
    query: `# What happens by itself: triggers with how their last attempts went, what waits, and what has failed for good.
query Triggers {
  triggers(first: 20) {
    nodes {
      kind
      enabled
      script { name kind }
      collectionGlob
      ops
      cron
      nextDueAt
      stats { waiting unresolvedDeadLetters succeeded failed }
      lastExecution { status startedAt durationMs error }
    }
  }
  outboxStats { due claimed waiting oldestDueAt unresolvedDeadLetters }
  deadLetters(first: 20) { nodes { sourceKind script { name } attempts lastError createdAt } }
}
`,
  },
  {
    query: `# Saves a script: an operation of this API whose variables come from the event. It says in a project's own log what
# became of a worktree. createTrigger takes its id, and says when it runs, such as
# spec: { kv: { collectionGlob: "worktrees", ops: [UPDATE] } }, condition: "'status' in changed".
mutation SaveScript($script: SaveScriptInput!) {
  saveScript(input: $script) {
    script { id name kind scopes }
    userErrors { code message path }
  }
}
`,
    variables: {
      script: {
        project: { remote: 'https://github.com/example/example' },
        name: 'log-status',
        operation: {
          document:
            'mutation ($i: LogActivitiesInput!) { logActivities(input: $i) { activities { id } userErrors { code message } } }',
          variables: {
            i: {
              activities: [
                {
                  agentId: 'triggers',
                  worktree: { id: '=entityId' },
                  type: 'OTHER',
                  description: '="Now " & data.after.status',
                },
              ],
            },
          },
        },
      },
    },
  },
  {
    query: `# Rows of mai.projects that nobody has given a place yet, and where the two sides of the mirror do not say the same.
query Mirror {
  unclassifiedProjects(first: 20) { nodes { slug name description links { refType refId } } }
  mirrorDrift(first: 20) { project { slug } maiId field ours theirs }
}
`,
  },
  {
    query: `# Finds projects by name, slug, remote and description, and forgives typos.
query Search($query: String!) {
  searchProjects(query: $query, first: 10) {
    relevance
    project { name slug remoteOrigin stats { activeWorktrees inFlightWorktrees lastWorktreeActivityAt } }
  }
}
`,
    variables: { query: 'exmaple' },
  },
  {
    query: `# Who is asking, with which rights, and how much the registry holds.
query Viewer {
  viewer {
    principal { handle kind }
    scopes
    tokens { name scopes lastUsedAt expiresAt revokedAt }
  }
  registryStats { activeProjects activeWorktrees inFlightWorktrees totalActivities schemaVersion }
}
`,
  },
];
