import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { parse } from 'yaml';
import { readReadme } from './helpers/readme.ts';

const FOLDERS = ['.', 'bench', 'deploy/kubernetes', 'docs', 'docs/alerts', 'prometheus/targets'];
const documents = FOLDERS.flatMap((folder) =>
  readdirSync(folder)
    .filter((name) => name.endsWith('.md'))
    .map((name) => join(folder, name)),
);
const { scripts } = JSON.parse(readFileSync('package.json', 'utf8'));

/** A link to a file or a heading of this repository. */
const LINK = /\]\((?!\w+:)([^)#\s]*)#?([^)\s]*)\)/g;
/** A path in this repository, as it is named in a text or in a code block. */
const PATH =
  /(?<![\w./@:-])(?:bench|deploy|docs|scripts|src|test|views|grafana\/\w+(?=\/))\/[\w/.-]*\w/g;
const NPM_SCRIPT = /\bnpm run (?:-\S+ )*([\w:-]+)/g;

/** The anchors of a document's headings, as GitHub makes them. */
function anchorsOf(document: string): string[] {
  const headings = readFileSync(document, 'utf8').matchAll(/^#+ (.+)$/gm);
  return [...headings].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
      .replaceAll(' ', '-'),
  );
}

for (const document of documents) {
  test(`${document} only names and links what exists`, () => {
    const text = readFileSync(document, 'utf8');
    const missing: string[] = [];
    for (const [link, file = '', anchor = ''] of text.matchAll(LINK)) {
      const path = file === '' ? document : join(dirname(document), file);
      const exists =
        existsSync(path) &&
        (anchor === '' || statSync(path).isDirectory() || anchorsOf(path).includes(anchor));
      if (!exists) missing.push(link);
    }
    for (const [path] of text.matchAll(PATH)) if (!existsSync(path)) missing.push(path);
    for (const [command, name = ''] of text.matchAll(NPM_SCRIPT)) {
      if (!(name in scripts)) missing.push(command);
    }
    assert.deepEqual(missing, []);
  });
}

test('both READMEs have the same sections, commands, code, settings and links', () => {
  // Headings and the picture of the guide differ by language, and so does the link to the other
  // README.
  const isOwn = (link: string) => /^#|^README|guide-..\.png$/.test(link);
  const [english, russian] = ['README.md', 'README.ru.md'].map((file) => {
    const readme = readReadme(file);
    return { ...readme, links: readme.links.filter((link) => !isOwn(link)) };
  });
  assert.deepEqual(russian, english);
});

test('the diagram in docs/architecture.md has every service that stays running', () => {
  const diagram = /^```mermaid\n.*?^```$/ms.exec(readFileSync('docs/architecture.md', 'utf8'))?.[0];
  const compose = parse(readFileSync('docker-compose.yml', 'utf8'), { merge: true });
  const services = Object.entries<{ restart: string }>(compose.services);
  for (const [name] of services.filter(([, { restart }]) => restart !== 'no')) {
    assert.ok(diagram?.includes(`${name}[`), name);
  }
});
