/**
 * Measures what replicas cost Prometheus: how many series each has, and what Prometheus needs for
 * them. One application is scraped as if it were many. It needs Docker and a build.
 *
 *   npm run build && npm run measure:scrapes
 */
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { parse, stringify } from 'yaml';

const REPLICAS = [10, 300];
const INTERVAL = 15;
const SECONDS = 100;
const METRICS_PORT = 19464;
const PORT = 18000;
const PROMETHEUS = 'http://127.0.0.1:19090';

const { services } = parse(readFileSync('docker-compose.yml', 'utf8'));
const image: string = services.prometheus.image;
const folder = mkdtempSync(join(tmpdir(), 'measure-scrapes-'));
const app = spawn('node', ['--import', './dist/instrument.js', 'dist/server.js'], {
  stdio: 'ignore',
  env: { ...process.env, PORT: `${PORT}`, METRICS_PORT: `${METRICS_PORT}` },
});
process.once('exit', () => {
  app.kill();
  spawnSync('docker', ['rm', '--force', 'measure-scrapes']);
  rmSync(folder, { recursive: true });
});
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130));

async function value(query: string): Promise<number> {
  const answer = await fetch(`${PROMETHEUS}/api/v1/query?${new URLSearchParams({ query })}`);
  const { data } = (await answer.json()) as { data: { result: { value: [number, string] }[] } };
  return Number(data.result[0]?.value[1]);
}

for (let attempt = 1; ; attempt++) {
  const isUp = await fetch(`http://127.0.0.1:${METRICS_PORT}/metrics`).then(
    ({ ok }) => ok,
    () => false,
  );
  if (isUp) break;
  if (attempt === 30) throw new Error('the application does not start: npm run build');
  await sleep(1000);
}
for (const path of [
  '/',
  '/my-view',
  '/trigger-error/',
  '/trigger-error/other/',
  '/missing',
  '/healthz',
]) {
  await (await fetch(`http://127.0.0.1:${PORT}${path}`)).text();
}
// As Prometheus asks.
const headers = { accept: 'application/openmetrics-text' };
const text = await (await fetch(`http://127.0.0.1:${METRICS_PORT}/metrics`, { headers })).text();
const series = text.split('\n').filter((line) => line && !line.startsWith('#')).length;
console.log(`${cpus().length} cores, ${cpus()[0]?.model}; ${image}; every ${INTERVAL} s`);
console.log(
  `one replica: ${series} series, ${text.length} bytes, ${gzipSync(text).length} with gzip`,
);

for (const replicas of REPLICAS) {
  const targets = Array.from({ length: replicas }, (_, replica) => ({
    targets: [`127.0.0.1:${METRICS_PORT}`],
    labels: { replica: String(replica) },
  }));
  const config = {
    global: { scrape_interval: `${INTERVAL}s` },
    scrape_configs: [
      { job_name: 'app', static_configs: targets },
      {
        job_name: 'prometheus',
        scrape_interval: '5s',
        static_configs: [{ targets: ['127.0.0.1:19090'] }],
      },
    ],
  };
  writeFileSync(join(folder, 'prometheus.yml'), stringify(config));
  spawnSync('chmod', ['-R', 'go+rX', folder]);
  spawnSync('docker', ['rm', '--force', 'measure-scrapes']);
  spawnSync('docker', [
    ...['run', '--detach', '--name', 'measure-scrapes', '--network', 'host'],
    ...['--volume', `${folder}/prometheus.yml:/etc/prometheus/prometheus.yml:ro,z`, image],
    ...['--config.file=/etc/prometheus/prometheus.yml', '--storage.tsdb.path=/prometheus'],
    '--web.listen-address=127.0.0.1:19090',
  ]);
  await sleep(SECONDS * 1000);
  const job = '{job="prometheus"}';
  const figures = {
    series: await value(`prometheus_tsdb_head_series${job}`),
    'samples/s': await value(`rate(prometheus_tsdb_head_samples_appended_total${job}[1m])`),
    MiB: (await value(`process_resident_memory_bytes${job}`)) / 2 ** 20,
    'cores of Prometheus': await value(`rate(process_cpu_seconds_total${job}[1m])`),
    'seconds of a scrape': await value('avg(scrape_duration_seconds{job="app"})'),
  };
  const rounded = Object.entries(figures).map(
    ([name, figure]) => `${name} ${figure.toPrecision(3)}`,
  );
  console.log(`${replicas} replicas: ${rounded.join(', ')}`);
}
process.exit(0);
