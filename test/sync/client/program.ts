import { createSyncClient } from '../../../src/sync/client/client.ts';
import { fileStorage } from '../../../src/sync/client/file-storage.ts';
import { appId } from '../asking.ts';

/**
 * A program with a sync client, for tests that kill it: `program.ts write|push <url> <token> <file>`. It prints the id of each
 * change once that is written, or what a push came to.
 */
const [what, url = '', token = '', path = ''] = process.argv.slice(2);
const client = await createSyncClient<{ note: { text: string } }>({
  url,
  token,
  appId,
  tables: ['note'],
  storage: fileStorage(path),
});
if (what === 'write') {
  for (let n = 0; ; n += 1) {
    console.log(await client.write({ op: 'insert', table: 'note', recordId: `n${n}`, data: { text: 'x'.repeat(n) } }));
  }
}
console.log(JSON.stringify(await client.push()));
await client.close();
