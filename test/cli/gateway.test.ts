import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { findGateway } from '../../src/cli/gateway.ts';
import { readConfig } from '../../src/config.ts';

describe('the local token', () => {
  const dataDir = mkdtempSync(join(tmpdir(), 'treeline-token-'));
  writeFileSync(join(dataDir, 'token'), 'tl_local\n');
  afterAll(() => rmSync(dataDir, { recursive: true }));
  const find = (url: string) => findGateway(readConfig({ TREELINE_DATA_DIR: dataDir, TREELINE_URL: url }));

  test.each(['http://127.0.0.1:4000', 'http://127.8.8.8', 'http://localhost:4000', 'http://[::1]:4000'])(
    'is for the gateway at %s',
    async (url) => {
      expect((await find(url)).loopback).toBe(true);
    },
  );

  test.each([
    'http://127.example.com',
    'http://127.0.0.1.example.com',
    'http://localhost.example.com',
    'http://10.0.0.1',
  ])('is not for %s', async (url) => {
    await expect(find(url)).rejects.toThrow(/TREELINE_TOKEN/);
  });
});
