/** The files in deploy/kubernetes/base, against the schemas that Kubernetes and the Prometheus Operator publish. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import {
  PrometheusRule,
  ServiceMonitor,
} from '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1';
import { Deployment } from 'kubernetes-models/apps/v1';
import { HorizontalPodAutoscaler } from 'kubernetes-models/autoscaling/v2';
import { NetworkPolicy } from 'kubernetes-models/networking.k8s.io/v1';
import { PodDisruptionBudget } from 'kubernetes-models/policy/v1';
import { Service } from 'kubernetes-models/v1';
import { parse } from 'yaml';
import { prometheusRule } from '../deploy/kubernetes/prometheus-rule.ts';
import { readConfig } from '../src/config.ts';
import { eventually } from './helpers/eventually.ts';
import { spawnApp } from './helpers/spawn-app.ts';
import { faults, startTracker } from './helpers/tracker.ts';

const FOLDER = 'deploy/kubernetes/base';
/** From which package each kind comes. */
const KINDS = {
  Deployment: [Deployment, 'kubernetes-models/apps/v1'],
  HorizontalPodAutoscaler: [HorizontalPodAutoscaler, 'kubernetes-models/autoscaling/v2'],
  NetworkPolicy: [NetworkPolicy, 'kubernetes-models/networking.k8s.io/v1'],
  PodDisruptionBudget: [PodDisruptionBudget, 'kubernetes-models/policy/v1'],
  PrometheusRule: [
    PrometheusRule,
    '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1',
  ],
  Service: [Service, 'kubernetes-models/v1'],
  ServiceMonitor: [
    ServiceMonitor,
    '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1',
  ],
} as const;
type Kind = keyof typeof KINDS;

// biome-ignore lint/suspicious/noExplicitAny: its schema is what the tests ask for
const read = (file: string): any => parse(readFileSync(`${FOLDER}/${file}`, 'utf8'));
const kustomization = read('kustomization.yaml');
const files: string[] = kustomization.resources;
const objects = files.map((file) => ({ file, object: read(file) }));
// biome-ignore lint/suspicious/noExplicitAny: as above
const the = (kind: Kind): any => objects.find(({ object }) => object.kind === kind)?.object;

test('the kustomization lists every file', () => {
  const others = readdirSync(FOLDER).filter((file) => file !== 'kustomization.yaml');
  assert.deepEqual(files.toSorted(), others.toSorted());
});

for (const { file, object } of objects) {
  test(`${file} has values that its schema allows`, () => {
    const [Model] = KINDS[object.kind as Kind] ?? assert.fail(`${object.kind} is not known here`);
    assert.equal(object.apiVersion, Model.apiVersion);
    new Model(object).validate();
  });
}

/** What the operator takes since its version 0.66, and these types do not know. Their newer versions
 * want Node.js 22. In the rules themselves, promtool takes no field that it does not know. */
const NEWER = new Set(['keep_firing_for']);

// The schemas allow more fields than they name, so they find no misspelt one. The types do.
test('no file has a field that its kind does not have', () => {
  const folder = 'node_modules/.cache/kubernetes-test';
  mkdirSync(folder, { recursive: true });
  for (const { file, object } of objects) {
    const [, from] = KINDS[object.kind as Kind];
    const known = JSON.stringify(object, (key, value) => (NEWER.has(key) ? undefined : value), 1);
    const code = `import type { I${object.kind} } from '${from}';\n(${known}) satisfies I${object.kind};\n`;
    writeFileSync(`${folder}/${file}.ts`, code);
  }
  const options = {
    compilerOptions: { ...parse(readFileSync('tsconfig.json', 'utf8')).compilerOptions, types: [] },
  };
  writeFileSync(`${folder}/tsconfig.json`, JSON.stringify(options));
  const { stdout, status } = spawnSync('node_modules/.bin/tsc', ['--project', folder], {
    encoding: 'utf8',
  });
  rmSync(folder, { recursive: true });
  assert.equal(status, 0, stdout);
});

test('the PrometheusRule is made of the rules as they are now', () => {
  assert.equal(
    readFileSync(`${FOLDER}/prometheusrule.yaml`, 'utf8'),
    prometheusRule(),
    'run: npm run kubernetes',
  );
});

test('every selector finds the pods, and every port is one of theirs', () => {
  const { spec } = the('Deployment');
  const { labels } = spec.template.metadata;
  const [{ ports }] = spec.template.spec.containers;
  const names = ports.map(({ name }: { name: string }) => name);

  assert.deepEqual(spec.selector.matchLabels, labels);
  assert.deepEqual(the('PodDisruptionBudget').spec.selector.matchLabels, labels);
  assert.deepEqual(the('NetworkPolicy').spec.podSelector.matchLabels, labels);
  assert.deepEqual(the('Service').spec.selector, labels);
  for (const { targetPort } of the('Service').spec.ports) assert.ok(names.includes(targetPort));
  for (const { ports } of the('NetworkPolicy').spec.ingress) {
    for (const { port } of ports) assert.ok(names.includes(port));
  }

  const { selector, endpoints } = the('ServiceMonitor').spec;
  assert.deepEqual(selector.matchLabels, the('Service').metadata.labels);
  for (const { port } of endpoints) {
    const found = the('Service').spec.ports.some(({ name }: { name: string }) => name === port);
    assert.ok(found, `the Service has a port ${port}`);
  }
  // The Prometheus Operator gives each target a label `endpoint`, which the application has, too.
  for (const { relabelings } of endpoints) {
    assert.deepEqual(relabelings, [{ action: 'labeldrop', regex: 'endpoint' }]);
  }
  // The label `job` is the Service's name, and the rules ask for it.
  assert.equal(the('Service').metadata.name, 'app');
  assert.equal(
    the('HorizontalPodAutoscaler').spec.scaleTargetRef.name,
    the('Deployment').metadata.name,
  );
});

test('the application takes the settings', () => {
  const [{ literals }] = kustomization.configMapGenerator;
  const settings: [string, string][] = literals.map((literal: string) => literal.split('='));
  const config = readConfig(Object.fromEntries(settings));
  for (const [name] of settings) assert.ok(name in config, `${name} is a setting`);

  const { enableServiceLinks } = the('Deployment').spec.template.spec;
  assert.equal(enableServiceLinks, false, 'no other Service sets one');
});

test('the slowest stop ends before Kubernetes kills it', async (t) => {
  const { terminationGracePeriodSeconds, containers } = the('Deployment').spec.template.spec;
  const [, preStopSeconds] = containers[0].lifecycle.preStop.exec.command;

  const tracker = await startTracker(t);
  await tracker.fail(faults.never);
  const app = await spawnApp(t, { SENTRY_DSN: tracker.dsn });
  await app.get('/trigger-error/');
  const lasting = app.get('/my-view?seconds=10').catch(() => 'hung up on');
  await eventually(async () => assert.equal(await app.metric('django_active_users'), 1));

  const exit = once(app.child, 'exit');
  app.child.kill('SIGTERM');
  const left = (terminationGracePeriodSeconds - Number(preStopSeconds)) * 1000;
  const kill = setTimeout(() => app.child.kill('SIGKILL'), left);
  assert.deepEqual(await exit, [0, null], 'it ended by itself');
  clearTimeout(kill);
  assert.equal(await lasting, 'hung up on', 'there was something to wait for');
});
