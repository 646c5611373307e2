/** Imports in src go one way, so that the monitoring can be copied to another application. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { posix } from 'node:path';
import { test } from 'node:test';

/** What each file in src imports from src, with paths that start there. */
const imports = new Map(
  readdirSync('src', { recursive: true, encoding: 'utf8' })
    .map((file) => file.replaceAll('\\', '/'))
    .filter((file) => file.endsWith('.ts'))
    .map((file) => {
      const source = readFileSync(`src/${file}`, 'utf8');
      const relative = source.matchAll(/\b(?:from|import) *\(?'(\.[^']+)'/g);
      return [
        file,
        [...relative].map(([, path = '']) => posix.join(posix.dirname(file), path)),
      ] as const;
    }),
);

const RULES = [
  {
    name: 'the monitoring imports nothing from outside itself',
    of: /^(monitoring\/|instrument\.ts)/,
    allowed: /^(monitoring\/|instrument\.ts)/,
  },
  {
    name: 'the spool imports nothing from the project',
    of: /^monitoring\/spool\.ts$/,
    allowed: /^$/,
  },
  {
    name: 'pages and the server use the monitoring through its index.ts only',
    of: /^(guide|http|routes)\//,
    allowed: /^(?!monitoring\/|instrument\.ts)|^monitoring\/index\.ts$/,
  },
];

for (const { name, of, allowed } of RULES) {
  test(name, () => {
    const files = [...imports].filter(([file]) => of.test(file));
    assert.ok(files.length > 0);
    const wrong = files.flatMap(([file, paths]) =>
      paths.filter((path) => !allowed.test(path)).map((path) => `${file} imports ${path}`),
    );
    assert.deepEqual(wrong, []);
  });
}

test('no imports go in a circle', () => {
  const visit = (file: string, from: string[]): void => {
    assert.ok(!from.includes(file), [...from, file].join(' imports '));
    for (const path of imports.get(file) ?? []) visit(path, [...from, file]);
  };
  for (const file of imports.keys()) visit(file, []);
});
