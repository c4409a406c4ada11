import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Config } from '../config.ts';
import { StartupError } from '../kernel/errors.ts';
import type { Logger } from '../kernel/logger.ts';

const defaultPort = 4000;
const portsToTry = 100;

/** The default port moves on to the next free one, and says so; a port that somebody asked for is that one or an error. */
export async function listenOn(server: Server, config: Config, log: Logger): Promise<string> {
  const wanted = config.PORT ?? defaultPort;
  const last = config.PORT === undefined ? wanted + portsToTry : wanted;
  for (let port = wanted; ; port += 1) {
    try {
      await bind(server, port, config.HOST);
      break;
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      if (code !== 'EADDRINUSE' || port >= last) throw cannotListen(error, port, config.HOST);
    }
  }
  const { port } = server.address() as AddressInfo;
  if (config.PORT === undefined && port !== defaultPort)
    log.info(`Port ${defaultPort} is taken; listening on ${port}.`);
  return `http://${config.HOST.includes(':') ? `[${config.HOST}]` : config.HOST}:${port}`;
}

function bind(server: Server, port: number, host: string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('error', reject);
  server.listen(port, host, () => {
    server.removeListener('error', reject);
    resolve();
  });
  return promise;
}

function cannotListen(error: unknown, port: number, host: string): unknown {
  const code = (error as NodeJS.ErrnoException).code;
  if (code === 'EADDRINUSE') {
    return new StartupError(`Port ${port} is taken. Set PORT to a free one, to 0 for any, or unset it.`);
  }
  if (code === 'EACCES')
    return new StartupError(`Port ${port} needs more rights than this user has. Set another PORT.`);
  if (code === 'EADDRNOTAVAIL') return new StartupError(`This machine has no address ${host}. Set another HOST.`);
  return error;
}
