import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';

const documents = ['.', 'docs', 'docs/alerts', 'bench', 'deploy/kubernetes'].flatMap((folder) =>
  readdirSync(folder)
    .filter((name) => name.endsWith('.md'))
    .map((name) => join(folder, name)),
);

/** The anchors of a document's headings, as GitHub makes them. */
function anchors(document: string): string[] {
  const headings = readFileSync(document, 'utf8').matchAll(/^#+ (.+)$/gm);
  return [...headings].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
      .replaceAll(' ', '-'),
  );
}

for (const document of documents) {
  test(`${document} links to what exists`, () => {
    const text = readFileSync(document, 'utf8').replaceAll(/^(```|~~~).*?^\1$/gms, '');
    for (const [, target = ''] of text.matchAll(/\]\(((?!\w+:)[^)\s]+)\)/g)) {
      const [file = '', anchor] = target.split('#');
      const path = file === '' ? document : join(dirname(document), file);
      assert.ok(existsSync(path), `${target} exists`);
      if (anchor && statSync(path).isFile()) {
        assert.ok(anchors(path).includes(anchor), `${target} is a heading`);
      }
    }
  });
}

test('every npm script that a document names exists, and every file that a script names', () => {
  const { scripts } = JSON.parse(readFileSync('package.json', 'utf8'));
  for (const document of documents) {
    const named = readFileSync(document, 'utf8').matchAll(/\bnpm run (?:-\S+ )*([\w:-]+)/g);
    for (const [, name = ''] of named) {
      assert.ok(name in scripts, `${document} names npm run ${name}`);
    }
  }
  for (const [name, command] of Object.entries<string>(scripts)) {
    // "dist" is there after a build only.
    for (const [file] of command.matchAll(/(?<=^| )(?!\.?\/?dist)[\w./-]+\.(ts|json)\b/g)) {
      assert.ok(existsSync(file), `npm run ${name} names ${file}`);
    }
  }
});
