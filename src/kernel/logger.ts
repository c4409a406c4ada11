import { type Logger as PinoLogger, pino } from 'pino';

/**
 * Structured logs, one JSON object a line, on standard error: standard output belongs to what a command was asked for.
 * Secrets are redacted by name here, so that no call site has to remember to.
 */
export type Logger = PinoLogger;

export const logLevels = ['trace', 'debug', 'info', 'warn', 'error', 'silent'] as const;
export type LogLevel = (typeof logLevels)[number];

const secretPaths = ['token', 'secret', 'password', 'authorization', 'cookie', 'connectionString', 'url'];

export function createLogger(level: LogLevel): Logger {
  return pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: {
        paths: secretPaths.flatMap((name) => [name, `*.${name}`, `*.*.${name}`]),
        censor: '[redacted]',
      },
    },
    pino.destination({ dest: 2, sync: true }),
  );
}
