import type { TypedDocumentString } from './generated/graphql.ts';

/** The gateway refused or could not be reached; the message says what to do. */
export class GatewayError extends Error {
  override readonly name = 'GatewayError';
  /** The first error's `extensions.code`; null when the gateway could not be reached. */
  readonly code: string | null;

  constructor(message: string, code: string | null, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

export interface Client {
  /** @throws GatewayError for everything but data */
  request<Data, Variables>(
    document: TypedDocumentString<Data, Variables>,
    ...variables: Variables extends Record<string, never> ? [] : [Variables]
  ): Promise<Data>;
}

interface Answer {
  data?: unknown;
  errors?: { message: string; extensions?: { code?: string } }[];
}

export function createClient({ url, token }: { url: string; token: string | null }): Client {
  return {
    async request(document, ...[variables]) {
      const { data, errors } = await send(url, token, { query: document.toString(), variables });
      const [error] = errors ?? [];
      if (error !== undefined) throw new GatewayError(advise(error), error.extensions?.code ?? null);
      return data as never;
    },
  };
}

async function send(url: string, token: string | null, body: object): Promise<Answer> {
  let response: Response;
  try {
    response = await fetch(`${url}/graphql`, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        accept: 'application/graphql-response+json, application/json',
        ...(token === null ? {} : { authorization: `Bearer ${token}` }),
      },
      body: JSON.stringify(body),
    });
  } catch (cause) {
    throw new GatewayError(`No gateway answers at ${url}. Start one with "npm start", or set TREELINE_URL.`, null, {
      cause,
    });
  }
  try {
    return (await response.json()) as Answer;
  } catch (cause) {
    throw new GatewayError(
      `What answers at ${url} (status ${response.status}) is no Treeline gateway: check TREELINE_URL.`,
      null,
      { cause },
    );
  }
}

function advise(error: { message: string; extensions?: { code?: string } }): string {
  return error.extensions?.code === 'UNAUTHENTICATED'
    ? `${error.message} The command line reads TREELINE_TOKEN, else the local gateway's token.`
    : error.message;
}
