import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { size } from '../support/size.ts';
import { append, readAll } from './asking.ts';
import { ada, gateway, project } from './setting.ts';

describe('content of every shape that chat SDKs write', () => {
  async function comesBack(contents: readonly unknown[]): Promise<void> {
    const id = await project();
    const batch = contents.map((content, n) => ({ messageId: String(n), content, annotations: { kept: content } }));
    for (let from = 0; from < batch.length; from += 200) {
      expect((await append(gateway, ada.token, id, batch.slice(from, from + 200))).userErrors).toEqual([]);
    }
    const all = await readAll(gateway, ada.token, id);
    expect(all.map(({ content }) => content)).toEqual(contents);
    expect(all.map(({ annotations }) => annotations)).toEqual(contents.map((kept) => ({ kept })));
  }

  test('comes back deep-equal: the hard ones', async () => {
    await comesBack([
      '',
      ' \n\t"\\ \u2028\u2029 \u{1f600} e\u0301',
      'not a NUL: \\u0000',
      [],
      {},
      { '': '', ' ': null, 'a.b': [null, true, false] },
      JSON.parse('{"__proto__": {"constructor": "x"}, "toString": 1}'),
      [1e-300, 5e-324, 1.7976931348623157e308, -1e-7, 0.1, 123456789012345680000, 2 ** 53, -(2 ** 53)],
      [
        { type: 'tool-call', toolCallId: 'c1', args: { path: 'a b.ts', lines: [[1, 2], []] } },
        { type: 'text', text: 'x' },
      ],
      {
        role: 'assistant',
        parts: [{ type: 'step-start' }, { type: 'data', data: Array.from({ length: 1_000 }, (_, n) => n) }],
      },
      [[[[[[['deep']]]]]]],
    ]);
  });

  test('comes back deep-equal: whatever it is', async () => {
    const content = fc.oneof(
      fc.string({ unit: 'grapheme' }),
      fc.array(fc.jsonValue({ maxDepth: 4 }), { maxLength: 6 }),
      fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 4 }), { maxKeys: 6 }),
    );
    const storable = content
      .map((given) => JSON.parse(JSON.stringify(given)) as unknown)
      .filter((given) => !JSON.stringify(given).includes('\\u0000'));
    await comesBack(fc.sample(storable, size(2_000)));
  });
});
