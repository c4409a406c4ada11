import { parse, validate } from 'graphql';
import { expect, test } from 'vitest';
import { schema } from '../../src/graphql/schema.ts';
import { examples } from '../../src/server/examples.ts';
import { graphiqlPage } from '../../src/server/graphiql.ts';

test.each(examples.map(({ query }) => query))('the example fits the schema: %s', (query) => {
  expect(validate(schema, parse(query))).toEqual([]);
});

test('the page loads nothing from elsewhere, and may not', async () => {
  const { html, contentSecurityPolicy } = await graphiqlPage();
  const text = html.toString();
  expect(text).not.toMatch(/<(?:script|link|img|iframe)[^>]+(?:src|href)="https?:/);
  expect(contentSecurityPolicy).toContain("default-src 'none'");
  expect(contentSecurityPolicy).not.toContain('http');
});
