import pg from 'pg';
import { Refusal, type RefusalCode, RequestError, refusalCodes } from '../kernel/errors.ts';
import { isContended } from './deadlock.ts';

/** What the violation of a named constraint means to the caller. */
export interface ConstraintMeaning {
  code: RefusalCode;
  message: string;
  /** The field of the mutation's input that is to blame. */
  field?: string;
}

const sqlstate = {
  uniqueViolation: '23505',
  checkViolation: '23514',
  notNullViolation: '23502',
  foreignKeyViolation: '23503',
  untranslatableCharacter: '22P05',
  characterNotInRepertoire: '22021',
  numericOutOfRange: '22003',
  datetimeOutOfRange: '22008',
  queryCanceled: '57014',
  invalidTextRepresentation: '22P02',
} as const;

/**
 * Turns what the database refused into what the caller can mend, by code and constraint, never by prose:
 * - DETAIL beginning with a refusal's code (raised by `registry.refuse`), followed by facts as JSON;
 * - a constraint that `meanings` explains.
 * @returns a `Refusal`, a `RequestError` for a statement that ran too long or that others kept from ending, or the error
 * itself: a defect
 */
export function asRefusal(error: unknown, meanings: Readonly<Record<string, ConstraintMeaning>> = {}): unknown {
  if (!(error instanceof pg.DatabaseError)) return error;
  return raisedRefusal(error) ?? explainedViolation(error, meanings) ?? outOfRange(error) ?? tooMuch(error) ?? error;
}

function raisedRefusal(error: pg.DatabaseError): Refusal | null {
  const match = /^([A-Z_]+)(?: (\{.*\}))?$/s.exec(error.detail ?? '');
  const code = refusalCodes.find((known) => known === match?.[1]);
  if (code === undefined) return null;
  const facts = match?.[2];
  return new Refusal(code, error.message, {
    details: facts === undefined ? undefined : (JSON.parse(facts) as Record<string, unknown>),
    cause: error,
  });
}

function explainedViolation(
  error: pg.DatabaseError,
  meanings: Readonly<Record<string, ConstraintMeaning>>,
): Refusal | null {
  const meaning = meanings[error.constraint ?? ''];
  if (meaning === undefined) return null;
  const path = meaning.field === undefined ? [] : ['input', meaning.field];
  return new Refusal(meaning.code, meaning.message, { path, cause: error });
}

function outOfRange(error: pg.DatabaseError): Refusal | null {
  switch (error.code) {
    case sqlstate.untranslatableCharacter:
    case sqlstate.characterNotInRepertoire:
      return new Refusal('INVALID', 'Text may not contain U+0000: the database cannot store it.', { cause: error });
    case sqlstate.invalidTextRepresentation:
      // What is sent as JSON was made by JSON.stringify: nothing but half a surrogate pair can be wrong with it.
      return error.routine?.startsWith('json_') === true
        ? new Refusal('INVALID', 'Text may not contain half of a surrogate pair: send well-formed Unicode.', {
            cause: error,
          })
        : null;
    case sqlstate.numericOutOfRange:
    case sqlstate.datetimeOutOfRange:
      return new Refusal('INVALID', 'A number or a time is out of the range that can be stored.', { cause: error });
    default:
      return null;
  }
}

function tooMuch(error: pg.DatabaseError): RequestError | null {
  if (isContended(error)) {
    return new RequestError('LIMIT_EXCEEDED', 'Others keep changing the same rows: try again.', { cause: error });
  }
  return error.code === sqlstate.queryCanceled
    ? new RequestError('LIMIT_EXCEEDED', 'A statement took longer than is allowed: ask for less at once.', {
        cause: error,
      })
    : null;
}

/** No JSON; a character that jsonb cannot hold; no UTF-8; nested beyond what the parser bears. */
const notJson: readonly (string | undefined)[] = ['22P02', '22P05', '22021', '54001'];
/** Beyond what one value may take: as numbers and short keys do, which are larger there than they came. */
const tooLarge: readonly (string | undefined)[] = ['54000', 'XX000', '53200'];

/** Why a document could not be stored that went to the database as it came; null: for another reason. */
export function documentFault(error: unknown): 'not JSON' | 'too large' | null {
  if (!(error instanceof pg.DatabaseError)) return null;
  if (notJson.includes(error.code)) return 'not JSON';
  return tooLarge.includes(error.code) ? 'too large' : null;
}
