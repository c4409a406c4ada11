import { readFile } from 'node:fs/promises';
import type { TestGateway } from '../../support/gateway.ts';

/** A document of `docs/` whose examples are run as they stand there. */
export interface Manual {
  /**
   * Sends the operation of that name to a gateway, as its administrator; fails on errors and refusals.
   * @param variables what a reader has to put in: ids that earlier steps answered
   */
  run<Data>(gateway: TestGateway, operation: string, variables?: Record<string, unknown>): Promise<Data>;
  /** The one code block of a language that has a text in it. */
  block(language: string, containing: string): string;
}

/**
 * @param name its path in `docs/`
 * @param replacements texts that are the reader's own, such as the address of a chat, and what stands for them here
 */
export async function openManual(name: string, replacements: Readonly<Record<string, string>> = {}): Promise<Manual> {
  const document = await readFile(new URL(`../../../docs/${name}.md`, import.meta.url), 'utf8');
  const replaced = Object.entries(replacements).reduce((text, [from, to]) => {
    if (!text.includes(from)) throw new Error(`${name}.md does not say ${from}`);
    return text.replaceAll(from, to);
  }, document);
  const blocks = [...replaced.matchAll(/^```(\w*)\n(.*?)^```$/gms)];
  const block: Manual['block'] = (language, containing) => {
    const found = blocks.filter(([, its, text]) => its === language && text?.includes(containing));
    if (found.length !== 1) throw new Error(`${name}.md has ${found.length} blocks of ${language} with ${containing}`);
    return found[0]?.[2] ?? '';
  };
  return {
    block,
    async run(gateway, operation, variables = {}) {
      const data = await gateway.ask<Record<string, { userErrors?: unknown[] }>>(
        block('graphql', ` ${operation}`),
        variables,
      );
      for (const [field, payload] of Object.entries(data)) {
        if ((payload.userErrors ?? []).length > 0) throw new Error(`${field}: ${JSON.stringify(payload.userErrors)}`);
      }
      return data as never;
    },
  };
}
