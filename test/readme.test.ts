import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readConfig } from '../src/config.ts';
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
