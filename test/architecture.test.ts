import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { parse } from 'yaml';

const page = readFileSync('docs/architecture.md', 'utf8');
const compose = parse(readFileSync('docker-compose.yml', 'utf8'));

const [, diagram = ''] = /^```mermaid\n(.*?)^```$/ms.exec(page) ?? [];
const services = [...diagram.matchAll(/^ +([\w-]+)\["/gm)].map(([, name = '']) => name);

test('the diagram has every service', () => {
  assert.deepEqual(services.sort(), Object.keys(compose.services).sort());
});
