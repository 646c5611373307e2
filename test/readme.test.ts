import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { readConfig } from '../src/config.ts';
import { linksFor } from '../src/guide/links.ts';
import { readReadme } from './helpers/readme.ts';

const english = readReadme('README.md');
const russian = readReadme('README.ru.md');

test('both READMEs have the same sections, commands, code and settings', () => {
  assert.deepEqual(russian.sections, english.sections);
  assert.deepEqual(russian.lines, english.lines);
  assert.deepEqual(russian.commands, english.commands);
  assert.deepEqual(russian.code, english.code);
  assert.deepEqual(russian.settings, english.settings);
});

test('both READMEs have the same links', () => {
  // Each leads to the other; its headings and its picture of the guide are in its own language.
  const isOwn = (link: string) => /^#|^README|guide-..\.png$/.test(link);
  const others = (links: string[]) => links.filter((link) => !isOwn(link));
  assert.deepEqual(others(russian.links), others(english.links));
  assert.equal(russian.links.filter(isOwn).length, english.links.filter(isOwn).length);
});

test('the READMEs list every setting, and none that does not exist', () => {
  assert.deepEqual(english.settings.sort(), Object.keys(readConfig({})).sort());
});

test('the application takes the links of every other tracker, and appends the id of an event', () => {
  const rows = readFileSync('README.md', 'utf8').matchAll(
    /^\| (.+) \| `(https:.+)` \| `(https:.+=)` \|$/gm,
  );
  const trackers = [...rows].map(([, tracker = '', ...links]) => {
    const [SENTRY_URL = '', SENTRY_EVENT_URL = ''] = links.map((link) =>
      link.replaceAll(/<\w+>/g, 'acme'),
    );
    const config = readConfig({ SENTRY_URL, SENTRY_EVENT_URL });
    const { searchParams } = new URL(
      linksFor(config).event('01234567-89ab-cdef-0123-456789abcdef'),
    );
    assert.equal(searchParams.get('query'), '01234567-89ab-cdef-0123-456789abcdef');
    assert.ok(SENTRY_EVENT_URL.startsWith(SENTRY_URL));
    return tracker;
  });
  assert.deepEqual(trackers, ['sentry.io', 'self-hosted Sentry', 'GlitchTip']);
});
