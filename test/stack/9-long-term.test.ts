/** The block in prometheus.yml that is off: turned on, what Prometheus scrapes is in VictoriaMetrics. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { parse, stringify } from 'yaml';
import { eventually } from '../helpers/eventually.ts';
import { freePort } from '../helpers/free-port.ts';
import { docker, startStack } from './helpers/compose.ts';
import { query, queryValue } from './helpers/services.ts';

const skip =
  spawnSync('victoria-metrics', ['--version']).error &&
  'victoria-metrics, which is a package of Debian, is not installed';

test('VictoriaMetrics has what Prometheus scrapes', { skip: skip ?? false }, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'long-term-'));
  after(() => rmSync(folder, { recursive: true }));
  const storage = `127.0.0.1:${await freePort()}`;
  const victoriaMetrics = spawn(
    'victoria-metrics',
    [`-storageDataPath=${join(folder, 'data')}`, `-httpListenAddr=${storage}`],
    { stdio: 'ignore' },
  );
  after(() => victoriaMetrics.kill());

  const { compose, urls } = await startStack();
  const metrics = await compose('port', 'app', '9464');
  const image = await compose('config', '--images', 'prometheus');
  const container = await docker([
    ...['run', '--detach', '--rm', '--network', 'host'],
    ...['--volume', `${writeConfig(folder, storage, metrics)}:/etc/prometheus/prometheus.yml:ro,z`],
    ...[image.split('\n').find((name) => name.startsWith('prom/prometheus:')) ?? image],
    ...['--config.file=/etc/prometheus/prometheus.yml', '--storage.tsdb.path=/prometheus'],
    `--web.listen-address=127.0.0.1:${await freePort()}`,
  ]);
  after(() => docker(['rm', '--force', container]));

  const visits = 'django_http_requests_total{method="GET",endpoint="/my-view"}';
  const counted = () => queryValue(`http://${storage}`, `sum(${visits})`);
  const before = await eventually(async () => {
    const value = await counted();
    assert.ok(value !== undefined, 'the series is there');
    return value;
  }, 60);
  for (let visit = 0; visit < 3; visit++) await fetch(`${urls.app}/my-view`);
  await eventually(async () => assert.equal(await counted(), before + 3), 60);

  const [sample] = await query(`http://${storage}`, visits);
  assert.equal(sample?.metric.job, 'app');
  assert.equal(sample?.metric.prometheus, 'main', 'it says which Prometheus it comes from');
});

/** Writes the project's own file with the block turned on, and the addresses of this machine. */
function writeConfig(folder: string, storage: string, metrics: string): string {
  const commented = readFileSync('prometheus.yml', 'utf8');
  const text = commented.replace(/^#remote_write:\n(?:#.*\n)*/m, (block) =>
    block.replaceAll(/^#/gm, ''),
  );
  assert.notEqual(text, commented, 'the block is in the file');
  const config = parse(text);
  config.scrape_configs = [{ job_name: 'app', static_configs: [{ targets: [metrics] }] }];
  config.alerting.alertmanagers = [];
  const [remote] = config.remote_write;
  remote.url = remote.url.replace('victoria-metrics:8428', storage);

  const file = join(folder, 'prometheus.yml');
  writeFileSync(file, stringify(config), { mode: 0o644 });
  return file;
}
