/**
 * Carries a snapshot to a gateway or from it, again and again, in a process of its own: copying so many bytes must not
 * hold up who measures meanwhile. Arguments: GET or PUT, the URL, the authorization, the size in bytes. Prints a line for
 * each one that was carried.
 */
import { setTimeout as sleep } from 'node:timers/promises';

const [method = 'GET', url = '', authorization = '', size = '0'] = process.argv.slice(2);

const line = 'const total = items.reduce((sum, item) => sum + item.price, 0);\n';
const text = line.repeat(1_000);
const files = Math.floor(Number(size) / (JSON.stringify(text).length + 20));
const document = Buffer.from(
  JSON.stringify({ files: Object.fromEntries(Array.from({ length: files }, (_, n) => [`src/file-${n}.ts`, text])) }),
);

for (;;) {
  const response = await fetch(url, {
    method,
    headers: { authorization, 'content-type': 'application/json' },
    ...(method === 'PUT' ? { body: document } : {}),
  });
  const bytes = (await response.arrayBuffer()).byteLength;
  // Another one of ours, which was broken off, is still being stored.
  if (response.status === 503) {
    await sleep(100);
    continue;
  }
  if (!response.ok) throw new Error(`${method} was answered ${response.status}`);
  console.log(method === 'PUT' ? document.length : bytes);
}
