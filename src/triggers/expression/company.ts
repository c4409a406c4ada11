import type { Evaluator } from './evaluator.ts';
import type { Answer, Questions } from './realm-program.ts';

/** Expressions over one event that succeed or fail together. */
export interface Job {
  expressions: readonly string[];
  /** Wanted is only whether the values are `true`. */
  truth: boolean;
  event: unknown;
}

/** Jobs that are asked about at once, because that costs a tenth of what it does one by one. */
interface Company {
  members: Job[];
  events: string[];
  /** Where in `events` an event is. */
  places: Map<unknown, number>;
  expressions: number;
  /** Of the events. */
  characters: number;
}

/** What completes a company. All of it has to end in the time that one job may take, and usually takes a tenth. */
const enoughExpressions = 100;
const enoughCharacters = 1_000_000;

/**
 * What fails in company is done again alone: it may have paid for another's time and memory, or be one that must not have
 * company. So no answer depends on other jobs.
 * @returns an answer for each job, in order
 */
export async function answerJobs(ask: Evaluator['ask'], jobs: readonly Job[]): Promise<Answer[]> {
  const answers: Answer[] = [];
  for (const company of companiesOf(jobs)) {
    const came = await ask(questionsOf(company), false);
    for (const [index, member] of company.members.entries()) {
      const answer = came[index];
      if (answer !== undefined && 'values' in answer) answers.push(answer);
      else answers.push(...(await ask(questionsOf(companyWith(startCompany(), member)), true)));
    }
  }
  return answers;
}

/** Made one by one, because a company has its events in memory once more. */
function* companiesOf(jobs: readonly Job[]): Generator<Company> {
  let company = startCompany();
  for (const job of jobs) {
    companyWith(company, job);
    if (company.expressions < enoughExpressions && company.characters < enoughCharacters) continue;
    yield company;
    company = startCompany();
  }
  if (company.members.length > 0) yield company;
}

function startCompany(): Company {
  return { members: [], events: [], places: new Map(), expressions: 0, characters: 0 };
}

function companyWith(company: Company, job: Job): Company {
  company.members.push(job);
  company.expressions += job.expressions.length;
  if (company.places.has(job.event)) return company;
  const json = JSON.stringify(job.event);
  company.places.set(job.event, company.events.push(json) - 1);
  company.characters += json.length;
  return company;
}

function questionsOf({ members, events, places }: Company): Questions {
  const jobs = members.map(({ expressions, truth, event }) => ({ event: places.get(event) ?? 0, expressions, truth }));
  return { events, jobs };
}
