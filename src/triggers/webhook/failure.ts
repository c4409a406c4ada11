import { errors } from 'undici';
import type { Outcome } from '../execution/model.ts';
import { AddressRefused, ConnectTimedOut } from './connector.ts';

/**
 * What a delivery that got no answer comes to. The words are ours and the error's code; its message is left out, for it may
 * quote what was sent, or what came.
 * @throws what is no error of a connection: a defect
 */
export function outcomeOfError(error: unknown): Outcome {
  if (error instanceof AddressRefused) return failed(error.message, { permanent: true });
  if (error instanceof ConnectTimedOut) {
    return { status: 'timed_out', error: 'The receiver could not be connected to in time.' };
  }
  const code = codeOf(error);
  if (code === null) throw error;
  const sentence = sentences.find(([codes]) => codes.test(code))?.[1] ?? 'The exchange with the receiver failed';
  return failed(`${sentence} (${code}).`);
}

/** A failure that trying again may mend, unless it says otherwise. */
export function failed(
  error: string,
  more: Partial<Omit<Extract<Outcome, { status: 'failed' }>, 'status' | 'error'>> = {},
): Outcome {
  return { status: 'failed', error, permanent: false, retryAfterMs: null, ...more };
}

/** Codes of the system, of OpenSSL as Node names them, of the HTTP parser (`HPE_`) and of undici. */
const sentences: readonly (readonly [codes: RegExp, sentence: string])[] = [
  [/^(ENOTFOUND|ENODATA|EAI_\w+)$/, 'The name of the host has no address that can be found'],
  [/^ECONNREFUSED$/, 'Nobody listens at that address and port'],
  [/^(ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|EADDRNOTAVAIL|EHOSTDOWN)$/, 'The address could not be reached'],
  [
    /^(ECONNRESET|ECONNABORTED|EPIPE|UND_ERR_SOCKET)$/,
    'The receiver closed the connection before it had answered in full',
  ],
  [
    /^(CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|HOSTNAME_|INVALID_CA|ERR_TLS_CERT_)/,
    "The receiver's certificate is none to trust",
  ],
  [/^(ERR_SSL_|ERR_TLS_|EPROTO$)/, 'TLS was not agreed on'],
  [/^UND_ERR_HEADERS_OVERFLOW$/, "The answer's headers are too large"],
  [/^(HPE_|UND_ERR_RES_CONTENT_LENGTH_MISMATCH$)/, 'The receiver answered with what is no HTTP'],
  [/^(ECANCELED|UND_ERR_DESTROYED|UND_ERR_CLOSED)$/, 'The gateway stopped'],
];

function codeOf(error: unknown): string | null {
  // undici has lost most of its parser's codes.
  if (error instanceof errors.HTTPParserError) return error.code ?? 'HPE_INVALID';
  const code = error instanceof Error && 'code' in error ? error.code : null;
  return typeof code === 'string' && /^\w{1,60}$/.test(code) ? code : null;
}
