import { describe, expect, test } from 'vitest';
import type { Viewer } from '../../src/auth/context.ts';
import { createConnections, type EndReason } from '../../src/server/connections.ts';

const viewer = (principalId: string, more: Partial<Viewer> = {}): Viewer => ({
  principalId,
  handle: principalId,
  kind: 'user',
  scopes: new Set(),
  spaceIds: [],
  tokenId: null,
  expiresAtMs: null,
  ...more,
});

describe('connections', () => {
  test('a principal has a thousand, and others are not its concern', () => {
    const connections = createConnections();
    const open = (principal: string) => connections.open(viewer(principal), () => {});
    const held = Array.from({ length: 1_000 }, () => open('ada'));
    for (const connection of held) connection.hold();
    expect(() => open('ada').hold()).toThrow(expect.objectContaining({ code: 'LIMIT_EXCEEDED' }));
    open('grace').hold();
    held[0]?.release();
    held[0]?.release();
    open('ada').hold();
    expect(() => open('ada').hold()).toThrow(expect.objectContaining({ code: 'LIMIT_EXCEEDED' }));
  });

  test('what holds no stream is not counted, and holding twice is holding once', () => {
    const connections = createConnections();
    for (let n = 0; n < 2_000; n += 1) connections.open(viewer('ada'), () => {});
    const one = connections.open(viewer('ada'), () => {});
    for (let n = 0; n < 2_000; n += 1) one.hold();
  });

  test('end with their token, their principal, or all together, each with its reason', () => {
    const connections = createConnections();
    const ends: [string, EndReason][] = [];
    const hold = (name: string, who: Viewer) => {
      const connection = connections.open(who, (reason) => {
        ends.push([name, reason]);
        connection.release();
      });
      connection.hold();
    };
    hold('token', viewer('ada', { tokenId: 't1' }));
    hold('other token', viewer('ada', { tokenId: 't2' }));
    hold('principal', viewer('grace'));
    hold('nobody', viewer('joan'));
    connections.endToken('t1');
    connections.endPrincipal('grace');
    connections.endAll();
    expect(ends).toEqual([
      ['token', 'revoked'],
      ['principal', 'revoked'],
      ['other token', 'leaving'],
      ['nobody', 'leaving'],
    ]);
  });

  test('one whose token has expired already ends as it begins', () => {
    const ends: EndReason[] = [];
    const expired = viewer('ada', { expiresAtMs: Date.now() - 1 });
    createConnections()
      .open(expired, (reason) => ends.push(reason))
      .hold();
    expect(ends).toEqual(['expired']);
  });
});
