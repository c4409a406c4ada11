import type { LookupAddress } from 'node:dns';
import { once } from 'node:events';
import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { buildConnector } from 'undici';
import type { AddressRule } from './addresses.ts';

/** The address that a URL leads to is none that webhooks may reach. */
export class AddressRefused extends Error {
  override readonly name = 'AddressRefused';
}

/** Nobody answered at any of the addresses, or TLS was not agreed on, in the time there is for it. */
export class ConnectTimedOut extends Error {
  override readonly name = 'ConnectTimedOut';
}

/** The addresses of a name; fails as `dns.lookup` does. */
export type Resolve = (hostname: string) => Promise<readonly LookupAddress[]>;

export interface ConnectorOptions {
  rule: AddressRule;
  resolve: Resolve;
  /** Certificates to trust instead of the usual authorities. */
  ca?: string | undefined;
}

export interface Connector {
  connect: buildConnector.connector;
  /** Ends what is being connected, and connects nothing any more. */
  close(): void;
}

/** The request that asked for a connection may give up sooner; the next one to the same place then takes the connection. */
const longestMs = 10_000;
const closed = 'the connector is closed';

/**
 * Connects where the rule lets it. Checking the name before would not do: whoever owns it may have it lead to another address
 * a moment later. So it is resolved once, for the connection, and what was checked is what is connected to; a literal address
 * is checked by itself, because no name is resolved for it; and the socket's own word counts, before the first byte is sent.
 */
export function createConnector({ rule, resolve, ca }: ConnectorOptions): Connector {
  const opening = new Set<Socket>();
  let isClosed = false;

  /** @returns the socket, once it has come so far */
  async function until<Opened extends Socket>(event: 'connect' | 'secureConnect', socket: Opened): Promise<Opened> {
    // Errors also come later, while nobody waits for one.
    socket.on('error', () => {});
    opening.add(socket);
    const late = setTimeout(() => socket.destroy(new ConnectTimedOut()), longestMs);
    try {
      await once(socket, event);
      return socket;
    } finally {
      clearTimeout(late);
      opening.delete(socket);
    }
  }

  async function open({ hostname, protocol, port }: buildConnector.Options): Promise<Socket> {
    const encrypted = protocol === 'https:';
    const addresses = await findAddresses(hostname, encrypted);
    if (isClosed) throw failure('ECANCELED', closed);
    const socket = connectTcp({
      host: hostname,
      port: Number(port) || (encrypted ? 443 : 80),
      lookup: (_hostname, _options, answer) => answer(null, addresses),
      autoSelectFamily: true,
      noDelay: true,
    });
    await until('connect', socket);
    const refusal = refusalOf(socket, encrypted);
    if (refusal !== null) {
      socket.destroy();
      throw refusal;
    }
    return encrypted ? until('secureConnect', secure(socket, hostname)) : socket;
  }

  function refusalOf({ remoteAddress }: Socket, encrypted: boolean): Error | null {
    if (remoteAddress === undefined) return failure('ECONNRESET', 'the connection was lost as soon as it was made');
    const reason = rule.mayConnect(remoteAddress, { encrypted });
    return reason === null ? null : new AddressRefused(reason);
  }

  function secure(socket: Socket, hostname: string): Socket {
    return connectTls({
      socket,
      host: hostname,
      // Only names are asked for by name; an address is compared with those in the certificate.
      ...(isIP(hostname) === 0 && { servername: hostname }),
      ALPNProtocols: ['http/1.1'],
      ...(ca !== undefined && { ca }),
    });
  }

  /** @throws AddressRefused when it may connect to none of them */
  async function findAddresses(hostname: string, encrypted: boolean): Promise<LookupAddress[]> {
    const family = isIP(hostname);
    const permitted: LookupAddress[] = [];
    let refusal: string | null = null;
    for (const found of family === 0 ? await resolve(hostname) : [{ address: hostname, family }]) {
      const reason = rule.mayConnect(found.address, { encrypted });
      if (reason === null) permitted.push(found);
      else refusal ??= reason;
    }
    if (permitted.length > 0) return permitted;
    throw refusal === null ? failure('ENODATA', 'the name has no address') : new AddressRefused(refusal);
  }

  return {
    connect(target, done) {
      open(target).then(
        (socket) => done(null, socket),
        (error: Error) => done(error, null),
      );
    },
    close() {
      isClosed = true;
      for (const socket of opening) socket.destroy(failure('ECANCELED', closed));
    },
  };
}

/** As the system's own errors are. */
function failure(code: string, message: string): Error {
  return Object.assign(new Error(message), { code });
}
