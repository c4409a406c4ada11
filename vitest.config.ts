import { defineConfig } from 'vitest/config';

export default defineConfig({
  // Vite would take graphql's development build and Node, for what is not transformed, the other: two libraries in one run.
  ssr: { resolve: { conditions: ['module-sync', 'node'] } },
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/support/global-setup.ts'],
    // Each worker opens connections and runs queries of its own, beside the one server that serves them all; three keep two cores
    // busy, because tests wait for one another, for locks and for servers that start.
    maxWorkers: 3,
    testTimeout: 30_000,
    hookTimeout: 60_000,
    teardownTimeout: 30_000,
  },
});
