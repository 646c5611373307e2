import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { parse } from 'yaml';

const page = readFileSync('docs/architecture.md', 'utf8');
const compose: Record<
  string,
  { networks?: string[]; network_mode?: string; ports?: string[]; profiles?: string[] }
> = parse(readFileSync('docker-compose.yml', 'utf8'), { merge: true }).services;

const [, diagram = ''] = /^```mermaid\n(.*?)^```$/ms.exec(page) ?? [];
const arrows = [...diagram.matchAll(/^ +(\S+) -- "(.+)" --> (\S+)$/gm)].map(
  ([, from = '', label = '', to = '']) => ({ from, label, to }),
);
const services = [...diagram.matchAll(/^ +([\w-]+)\["/gm)].map(([, name = '']) => name);

test('the diagram has every service', () => {
  assert.deepEqual(services.sort(), Object.keys(compose).sort());
});

test('the diagram has every conversation, on its network', () => {
  const drawn = arrows
    .filter(({ from }) => from !== 'browser')
    .flatMap(({ from, label, to }) => [from, to].map((name) => `${label.split(' ')[0]}: ${name}`));
  const configured = Object.entries(compose).flatMap(([name, { networks = [] }]) =>
    networks.map((network) => `${network}: ${name}`),
  );
  assert.deepEqual(drawn.sort(), configured.sort());
});

test('the diagram has every published port, and all are of this machine alone', () => {
  const drawn = arrows
    .filter(({ from }) => from === 'browser')
    .map(({ label, to }) => `${to} ${Number.parseInt(label, 10)}`);
  const configured = Object.entries(compose).flatMap(([name, { ports = [] }]) =>
    ports.map((port) => {
      const [, published] = /^127\.0\.0\.1:\$\{\w+:-(\d+)\}:\d+$/.exec(port) ?? [];
      assert.ok(published, `${name} publishes ${port}`);
      return `${name} ${published}`;
    }),
  );
  assert.deepEqual(drawn.sort(), configured.sort());
});
