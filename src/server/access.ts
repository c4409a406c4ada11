import type { IncomingMessage } from 'node:http';
import type { Config } from '../config.ts';

/**
 * Which requests may come in at all, before anybody is asked who they are. A page of another site in the same browser can
 * send requests here, and by rebinding its own name to 127.0.0.1 even read the answers: so the Host must be ours and an
 * Origin, where there is one, must be our own page or one that the operator named.
 */
export interface Access {
  /** @returns why the request may not come in, or null */
  refusal(request: IncomingMessage): string | null;
  /** Whether a browser page of another origin may read answers. */
  allowsOrigin(origin: string): boolean;
}

const loopback = new Set(['localhost', '127.0.0.1', '[::1]']);

export function createAccess(config: Config): Access {
  const hosts = new Set([...loopback, ...config.TREELINE_ALLOWED_HOSTS.map((host) => host.toLowerCase())]);
  if (!['0.0.0.0', '::'].includes(config.HOST)) hosts.add(config.HOST.toLowerCase());
  const origins = new Set(config.TREELINE_ALLOWED_ORIGINS.map((origin) => origin.toLowerCase()));
  return {
    refusal(request) {
      const host = (request.headers.host ?? '').toLowerCase();
      if (!hosts.has(hostname(host)) && !hosts.has(host)) {
        return `The host ${JSON.stringify(host)} is not served here: name it in TREELINE_ALLOWED_HOSTS if it is yours.`;
      }
      const origin = request.headers.origin?.toLowerCase();
      if (origin === undefined || origin === `http://${host}` || origin === `https://${host}` || origins.has(origin)) {
        return null;
      }
      return `The origin ${JSON.stringify(origin)} may not call: name it in TREELINE_ALLOWED_ORIGINS if it is yours.`;
    },
    allowsOrigin: (origin) => origins.has(origin.toLowerCase()),
  };
}

function hostname(host: string): string {
  return host.replace(/:\d+$/, '');
}

/** Whether the request comes from this machine: by its socket, not by anything that it says. */
export function isLoopback(request: IncomingMessage): boolean {
  const address = request.socket.remoteAddress ?? '';
  return address === '::1' || address.startsWith('127.') || address.startsWith('::ffff:127.');
}

export function pathOf(request: IncomingMessage): string {
  return (request.url ?? '/').split('?')[0] ?? '/';
}
