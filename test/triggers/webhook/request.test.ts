import { describe, expect, test } from 'vitest';
import { checkHeaders, checkUrl } from '../../../src/triggers/webhook/webhook.ts';

describe('headers of a registrant', () => {
  test.each([
    [{}],
    [{ authorization: 'Bearer abc', 'X-Team': 'Öl', 'x-empty': '' }],
    [Object.fromEntries(Array.from({ length: 50 }, (_, index) => [`x-${index}`, 'v']))],
    [{ 'x-a': 'v'.repeat(7_997) }],
  ])('may be %j', (headers) => {
    expect(checkHeaders(headers)).toBeNull();
  });

  test.each([
    [null, 'an object'],
    [['x-a'], 'an object'],
    ['x-a: b', 'an object'],
    [{ '': 'v' }, 'the name of an HTTP header'],
    [{ 'x a': 'v' }, 'the name of an HTTP header'],
    [{ 'x-ä': 'v' }, 'the name of an HTTP header'],
    [{ 'x-a\r\nhost': 'v' }, 'the name of an HTTP header'],
    [{ 'x-a': 5 }, 'text as the value'],
    [{ 'x-a': ['hidden'] }, 'text as the value'],
    [{ 'x-a': null }, 'text as the value'],
    [{ 'x-a': 'hidden\r\nhost: b' }, 'HTTP can carry'],
    [{ 'x-a': 'hidden 🔑' }, 'HTTP can carry'],
    [{ 'x-a': 'hidden', 'X-A': 'hidden' }, 'X-A twice'],
    [{ 'x-a': 'v'.repeat(7_998) }, 'at most 8000 bytes together, got 8001'],
    [Object.fromEntries(Array.from({ length: 51 }, (_, index) => [`x-${index}`, 'v'])), 'at most 50 headers, got 51'],
    [{ 'Webhook-Id': 'hidden' }, 'Treeline sets itself'],
    [{ 'webhook-anything': 'hidden' }, 'Treeline sets itself'],
    [{ 'Content-Type': 'hidden' }, 'Treeline sets itself'],
    [{ 'user-agent': 'hidden' }, 'Treeline sets itself'],
    [{ 'Transfer-Encoding': 'hidden' }, 'Treeline sets itself'],
    [{ expect: 'hidden' }, 'Treeline sets itself'],
    [{ 'proxy-authorization': 'hidden' }, 'Treeline sets itself'],
  ])('may not be %j', (headers, mistake) => {
    expect(checkHeaders(headers)).toContain(mistake);
    expect(checkHeaders(headers)).not.toContain('hidden');
  });
});

describe('the URL of a webhook', () => {
  test.each([
    'https://a.example',
    'http://10.0.0.1:8080/a?b#c',
    'HTTPS://[2606:4700::1111]/',
    'https://bücher.example/',
  ])('may be %s', (url) => {
    expect(checkUrl(url)).toBeNull();
  });

  test.each([
    ['', 'begins with https://'],
    ['a.example', 'begins with https://'],
    ['//a.example', 'begins with https://'],
    ['ftp://a.example', 'begins with https://'],
    ['file:///etc/passwd', 'begins with https://'],
    ['unix:/var/run/docker.sock', 'begins with https://'],
    ['https://', 'begins with https://'],
    ['https://a.example:99999', 'begins with https://'],
    ['https://[fe80::1%25eth0]/', 'begins with https://'],
    [`https://a.example/${'a'.repeat(2_000)}`, 'at most 2000 characters'],
    ['https://me@a.example', 'without a user'],
    ['https://me:hidden@a.example', 'without a user'],
  ])('may not be %s', (url, mistake) => {
    expect(checkUrl(url)).toContain(mistake);
    expect(checkUrl(url)).not.toContain('hidden');
  });
});
