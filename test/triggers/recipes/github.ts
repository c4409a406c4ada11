import { sign } from '@octokit/webhooks-methods';

/** Deliveries as GitHub makes them: its headers, its signature, and the fields of its payloads that say what happened. */

const repository = {
  id: 186853002,
  name: 'shop',
  full_name: 'acme/shop',
  private: false,
  html_url: 'https://github.com/acme/shop',
  clone_url: 'https://github.com/acme/shop.git',
  ssh_url: 'git@github.com:acme/shop.git',
  default_branch: 'trunk',
};
const sender = { login: 'octocat', id: 1, type: 'User' };

export const ping = {
  zen: 'Half measures are as bad as nothing at all.',
  hook_id: 1,
  hook: { events: ['push'] },
  repository,
  sender,
};

/** A push of commits, the last of them with this message. */
export function push(ref: string, message: string) {
  const head = {
    id: '6dcb09b5b57875f334f61aebed695e2e4193db5e',
    message,
    timestamp: '2026-11-21T09:30:00+01:00',
    author: { name: 'Monalisa Octocat', email: 'octocat@github.com', username: 'octocat' },
  };
  return {
    ref,
    before: '9049f1265b7d61be4a8904a9a27120d2064dab3b',
    after: head.id,
    created: false,
    deleted: false,
    forced: false,
    base_ref: null,
    commits: [head],
    head_commit: head,
    repository,
    pusher: { name: 'octocat', email: 'octocat@github.com' },
    sender,
  };
}

interface PullRequest {
  branch: string;
  action?: string;
  merged?: boolean;
  base?: string;
  /** It comes from another repository. */
  fork?: boolean;
}

export function pullRequest({ branch, action = 'closed', merged = true, base = 'trunk', fork = false }: PullRequest) {
  return {
    action,
    number: 2,
    pull_request: {
      number: 2,
      state: action === 'closed' ? 'closed' : 'open',
      title: 'Update the README with new information.',
      merged,
      merged_at: merged ? '2026-11-21T09:30:00Z' : null,
      // Of what was not merged it is a commit that was only tried.
      merge_commit_sha: 'C4295BD74FB0F4FDA03689C3DF3F2803B658FD85'.toLowerCase(),
      merged_by: merged ? sender : null,
      head: {
        ref: branch,
        sha: 'ec26c3e57ca3a959ca5aad62de7213c562f8c821',
        repo: fork ? { ...repository, id: 2, full_name: 'mona/shop', fork: true } : repository,
      },
      base: { ref: base, sha: 'f95f852bd8fca8fcc58a9a2d6c842781e32a215e', repo: repository },
    },
    repository,
    sender,
  };
}

/** @returns the status of the answer */
export async function deliver(
  url: string,
  { event, payload, secret, form = false }: { event: string; payload: object; secret: string; form?: boolean },
): Promise<number> {
  const json = JSON.stringify(payload);
  const body = form ? new URLSearchParams({ payload: json }).toString() : json;
  const response = await fetch(url, {
    method: 'POST',
    headers: {
      'content-type': form ? 'application/x-www-form-urlencoded' : 'application/json',
      'user-agent': 'GitHub-Hookshot/044aadd',
      'x-github-delivery': '72d3162e-cc78-11e3-81ab-4c9367dc0958',
      'x-github-event': event,
      'x-hub-signature-256': await sign(secret, body),
    },
    body,
  });
  await response.body?.cancel();
  return response.status;
}
