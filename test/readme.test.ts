import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { readConfig } from '../src/config.ts';
import { eventUrl } from '../src/guide/links.ts';
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
    const { searchParams } = new URL(eventUrl(config, '0123456789abcdef0123456789abcdef'));
    assert.equal(searchParams.get('query'), '01234567-89ab-cdef-0123-456789abcdef');
    assert.ok(SENTRY_EVENT_URL.startsWith(SENTRY_URL));
    return tracker;
  });
  assert.deepEqual(trackers, ['sentry.io', 'self-hosted Sentry', 'GlitchTip']);
});

/** Who runs what begins so. test/stack/8-readme.test.ts takes its commands from the README itself. */
const RUN_BY: Record<string, [file: string, as: RegExp]> = {
  'docker ': ['test/stack/8-readme.test.ts', /readReadme\('README\.md'\)/],
  'TRAFFIC_ERRORS=0.5 docker ': ['test/stack/8-readme.test.ts', /readReadme\('README\.md'\)/],
  'curl ': ['test/stack/8-readme.test.ts', /readReadme\('README\.md'\)/],
  'chmod ': ['test/stack/8-readme.test.ts', /readReadme\('README\.md'\)/],
  'npm ci && npm test': ['.ci/run', /npm ci\n(.*\n)*step 'npm test' npm test/],
  'npm run test:stack': ['.ci/run', /npm run test:stack/],
  'npm ci && npm run demo': ['test/demo.test.ts', /scripts\/demo\.ts/],
  'npm run traffic': ['test/traffic.test.ts', /scripts\/traffic\.ts/],
};

test('every command in the READMEs is run by a test or by .ci/run', () => {
  assert.ok(english.commands.length > 10);
  for (const command of english.commands) {
    const runner = Object.keys(RUN_BY).find((start) =>
      start.endsWith(' ') ? command.startsWith(start) : command === start,
    );
    assert.ok(runner, `"${command}" is run by nobody`);
    const [file, as] = RUN_BY[runner] ?? ['', /^$/];
    assert.match(readFileSync(file, 'utf8'), as, `${file} runs "${command}"`);
  }
});
