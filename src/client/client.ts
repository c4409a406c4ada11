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

/** Where a gateway is, and who asks it. */
export interface Endpoint {
  url: string;
  token: string | null;
}

export interface Client {
  /** For what goes on: see `follow`. */
  readonly endpoint: Endpoint;
  /** @throws GatewayError for everything but data */
  request<Data, Variables>(
    document: TypedDocumentString<Data, Variables>,
    ...variables: Variables extends Record<string, never> ? [] : [Variables]
  ): Promise<Data>;
}

/** An error as GraphQL sends it. */
export interface SentError {
  message: string;
  extensions?: { code?: string; cursor?: string | null };
}

interface Answer {
  data?: unknown;
  errors?: SentError[];
}

export function createClient({ url, token }: Endpoint): Client {
  return {
    endpoint: { url, token },
    async request(document, ...[variables]) {
      const { data, errors } = await send(url, token, { query: document.toString(), variables });
      const [error] = errors ?? [];
      if (error !== undefined) throw toGatewayError(error);
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
    throw noGatewayAt(url, cause);
  }
  try {
    return (await response.json()) as Answer;
  } catch (cause) {
    throw noGatewayThatAnswers(url, response.status, cause);
  }
}

export function noGatewayAt(url: string, cause: unknown): GatewayError {
  return new GatewayError(`No gateway answers at ${url}. Start one with "npm start", or set TREELINE_URL.`, null, {
    cause,
  });
}

export function noGatewayThatAnswers(url: string, status: number | undefined, cause?: unknown): GatewayError {
  return new GatewayError(
    `What answers at ${url} (status ${status}) is no Treeline gateway: check TREELINE_URL.`,
    null,
    { cause },
  );
}

export function toGatewayError(error: SentError): GatewayError {
  const code = error.extensions?.code ?? null;
  return new GatewayError(code === 'UNAUTHENTICATED' ? adviseOnToken(error.message) : error.message, code);
}

export function adviseOnToken(message: string): string {
  return `${message} The command line reads TREELINE_TOKEN, else the local gateway's token.`;
}
