import { readFile } from 'node:fs/promises';
import { isIPv4 } from 'node:net';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { type Client, createClient } from '../client/client.ts';
import type { Config } from '../config.ts';
import { StartupError } from '../kernel/errors.ts';

/** The gateway that the command line speaks to. */
export interface Gateway {
  client: Client;
  url: string;
  /** Under which name this machine reports: see `hostName`. */
  loopback: boolean;
}

const defaultUrl = 'http://127.0.0.1:4000';

export async function findGateway(config: Config): Promise<Gateway> {
  const local = await readIfThere(join(config.TREELINE_DATA_DIR, 'gateway'));
  const url = (config.TREELINE_URL ?? local ?? defaultUrl).replace(/\/+$/, '');
  const loopback = isLoopback(url);
  // The local token is the local gateway's: sent elsewhere it would be given away.
  const token = config.TREELINE_TOKEN ?? (loopback ? await readIfThere(join(config.TREELINE_DATA_DIR, 'token')) : null);
  if (token === null) {
    throw new StartupError(
      loopback
        ? `There is no token in ${config.TREELINE_DATA_DIR}. Start the gateway in this folder with "npm start", or set TREELINE_TOKEN.`
        : `Set TREELINE_TOKEN to a token of ${url}.`,
    );
  }
  return { client: createClient({ url, token }), url, loopback };
}

function isLoopback(url: string): boolean {
  const { hostname: name } = new URL(url);
  // An address, not a name: 127.example.com is anybody's.
  return name === 'localhost' || name === '[::1]' || (isIPv4(name) && name.startsWith('127.'));
}

async function readIfThere(file: string): Promise<string | null> {
  try {
    return (await readFile(file, 'utf8')).trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

/** What was asked for, else TREELINE_HOST, else `local` beside a gateway on this machine, else the machine's own name. */
export function hostName(asked: string | undefined, config: Config, gateway: Gateway): string {
  return asked ?? config.TREELINE_HOST ?? (gateway.loopback ? 'local' : hostname());
}
