import { createHash } from 'node:crypto';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { renderGraphiQL } from '@graphql-yoga/render-graphiql';
import { examples } from './examples.ts';

/** GraphiQL as one page of our own, with nothing from elsewhere. */
export interface GraphiqlPage {
  html: Buffer;
  gzipped: Buffer;
  etag: string;
  contentSecurityPolicy: string;
}

const headersMark = 'treeline-headers';
const connectionMark = 'treeline-connection';

/**
 * Runs before GraphiQL. The link that the gateway prints carries the token in its fragment, which browsers send nowhere;
 * it moves to the session's storage, so that it is gone from the address bar and the history, and ends with the tab.
 */
const takeToken = `
  const fragment = new URLSearchParams(location.hash.slice(1));
  if (fragment.has('token')) {
    sessionStorage.setItem('treeline-token', fragment.get('token'));
    history.replaceState(null, '', location.pathname + location.search);
  }
  const treelineToken = sessionStorage.getItem('treeline-token');
  const treelineHeaders = treelineToken === null
    ? '{\\n  "Authorization": "Bearer tl_…"\\n}'
    : JSON.stringify({ Authorization: 'Bearer ' + treelineToken }, null, 2);
  const treelineConnection = { authorization: 'Bearer ' + treelineToken };
`;

let page: Promise<GraphiqlPage> | null = null;

/** Made at the first request and kept: nine megabytes that never change. */
export function graphiqlPage(): Promise<GraphiqlPage> {
  page ??= makePage();
  return page;
}

async function makePage(): Promise<GraphiqlPage> {
  const rendered = renderGraphiQL({
    title: 'Treeline',
    headers: headersMark,
    defaultTabs: examples.map(({ query, variables }) => ({
      query,
      headers: headersMark,
      variables: variables === undefined ? null : JSON.stringify(variables, null, 2),
    })),
    subscriptionsProtocol: 'WS',
    shouldPersistHeaders: false,
    // Passed on to the transport, though the page's own options do not name it: a socket has no headers.
    ...{ connectionParams: connectionMark },
  });
  // The page's options are a literal in its script; where the mark stands, the token is known only in the browser.
  const options = rendered.lastIndexOf('YogaGraphiQL.renderYogaGraphiQL(');
  const html =
    rendered.slice(0, options).replace('<script>', () => `<script>${takeToken}`) +
    rendered
      .slice(options)
      .replaceAll(`"${headersMark}"`, 'treelineHeaders')
      .replaceAll(`"${connectionMark}"`, 'treelineConnection');
  const bytes = Buffer.from(html);
  return {
    html: bytes,
    gzipped: await promisify(gzip)(bytes),
    etag: `"${createHash('sha256').update(bytes).digest('base64url')}"`,
    contentSecurityPolicy: policyFor(html),
  };
}

/** Only the page's own scripts run, and it may speak to nobody but us. */
function policyFor(html: string): string {
  const script = html.slice(html.indexOf('<script>') + '<script>'.length, html.lastIndexOf('</script>'));
  const hash = createHash('sha256').update(script).digest('base64');
  return [
    "default-src 'none'",
    `script-src 'sha256-${hash}'`,
    "style-src 'unsafe-inline'",
    'img-src data:',
    'font-src data:',
    'worker-src blob:',
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; ');
}
