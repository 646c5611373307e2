/**
 * The tutorial without Docker: the application under `sentry local run`, which prints every error
 * and trace to the terminal, and Prometheus, Alertmanager and Jaeger if they are installed. Ctrl-C
 * stops all of them.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parse, stringify } from 'yaml';

const PORTS = {
  app: Number(process.env.PORT || 8000),
  metrics: Number(process.env.METRICS_PORT || 9464),
  sentry: Number(process.env.SENTRY_LOCAL_PORT || 8969),
  prometheus: Number(process.env.PROMETHEUS_PORT || 9090),
  alertmanager: Number(process.env.ALERTMANAGER_PORT || 9093),
  jaeger: Number(process.env.JAEGER_PORT || 16686),
  otlp: Number(process.env.OTLP_PORT || 4318),
  jaegerHealth: Number(process.env.JAEGER_HEALTH_PORT || 13133),
};
const SERVER = ['--enable-source-maps', '--import', './dist/instrument.js', 'dist/server.js'];
const url = (port: number, host = 'localhost') => `http://${host}:${port}`;

const isWindows = process.platform === 'win32';
const readJson = (file: string) => JSON.parse(readFileSync(file, 'utf8'));
const { name, version } = readJson('package.json');
// Not node_modules/.bin/sentry, which on Windows is a batch file.
const SENTRY = resolve(
  'node_modules/sentry',
  readJson('node_modules/sentry/package.json').bin.sentry,
);

const folder = mkdtempSync(join(tmpdir(), 'monitoring-demo-'));
const children: ChildProcess[] = [];

/** Finds the first of the programs that is installed. Debian adds a prefix to some names. */
function installed(...names: string[]): string | undefined {
  return (process.env.PATH ?? '')
    .split(delimiter)
    .flatMap((folder) => names.map((name) => join(folder, isWindows ? `${name}.exe` : name)))
    .find(existsSync);
}

function start(command: string, args: string[], environment = {}, stdio: 'inherit' | 'ignore') {
  const child = spawn(command, args, {
    // A process group of its own: Ctrl-C reaches this script alone, which then stops each child
    // once. On Windows it would open a new window.
    detached: !isWindows,
    stdio: ['ignore', stdio, stdio],
    env: { ...process.env, ...environment },
  });
  children.push(child);
  return child;
}

/** The stack's own file, with its addresses replaced by those on this machine. */
function prometheusConfig(withAlertmanager: boolean): string {
  const configuration = parse(readFileSync('prometheus.yml', 'utf8'));
  const targets = {
    app: `127.0.0.1:${PORTS.metrics}`,
    prometheus: `127.0.0.1:${PORTS.prometheus}`,
    ...(withAlertmanager && { alertmanager: `127.0.0.1:${PORTS.alertmanager}` }),
  };
  configuration.rule_files = [resolve('prometheus/rules/*.yml')];
  configuration.scrape_configs = Object.entries(targets).map(([job_name, target]) => ({
    job_name,
    static_configs: [{ targets: [target] }],
  }));
  configuration.alerting.alertmanagers = withAlertmanager
    ? [{ static_configs: [{ targets: [targets.alertmanager] }] }]
    : [];
  return stringify(configuration);
}

let stopping = false;
async function stop(exitCode: number) {
  if (stopping) return;
  stopping = true;
  const running = children.filter(({ exitCode }) => exitCode === null);
  const exits = running.map((child) => new Promise((done) => child.once('exit', done)));
  for (const child of running) child.kill('SIGTERM');
  await Promise.race([Promise.all(exits), sleep(15_000)]);
  rmSync(folder, { recursive: true, force: true });
  process.exit(exitCode);
}
process.on('SIGINT', () => stop(0));
process.on('SIGTERM', () => stop(0));
// npm runs this in a shell, which exits on SIGTERM without passing it on.
const parent = process.ppid;
setInterval(() => {
  if (process.ppid !== parent) stop(0);
}, 1000);

const prometheus = installed('prometheus');
const jaeger = installed('jaeger');
const alertmanager = installed('alertmanager', 'prometheus-alertmanager');

if (alertmanager) {
  const config = readFileSync('alertmanager.yml', 'utf8').replace('maildev:', '127.0.0.1:');
  writeFileSync(join(folder, 'alertmanager.yml'), config);
  start(
    alertmanager,
    [
      `--config.file=${join(folder, 'alertmanager.yml')}`,
      `--storage.path=${join(folder, 'alertmanager')}`,
      `--web.listen-address=127.0.0.1:${PORTS.alertmanager}`,
      '--cluster.listen-address=',
    ],
    {},
    'ignore',
  );
}
if (prometheus) {
  writeFileSync(join(folder, 'prometheus.yml'), prometheusConfig(alertmanager !== undefined));
  mkdirSync(join(folder, 'prometheus'));
  start(
    prometheus,
    [
      `--config.file=${join(folder, 'prometheus.yml')}`,
      `--storage.tsdb.path=${join(folder, 'prometheus')}`,
      `--web.listen-address=127.0.0.1:${PORTS.prometheus}`,
      `--web.external-url=http://localhost:${PORTS.prometheus}`,
      `--web.user-assets=${resolve('docs/alerts')}`,
    ],
    {},
    'ignore',
  );
}
if (jaeger) {
  writeFileSync(join(folder, 'ui.json'), '{}');
  start(
    jaeger,
    ['--config', resolve('jaeger/config.yaml')],
    {
      JAEGER_OTLP_PORT: String(PORTS.otlp),
      JAEGER_QUERY_PORT: String(PORTS.jaeger),
      JAEGER_HEALTH_PORT: String(PORTS.jaegerHealth),
      JAEGER_UI_CONFIG: join(folder, 'ui.json'),
      // Otherwise it traces itself, and is slow to stop.
      OTEL_TRACES_SAMPLER: 'always_off',
    },
    'ignore',
  );
}
start(
  process.execPath,
  // The command behind `npm start`.
  [SENTRY, 'local', 'run', '--port', String(PORTS.sentry), '--', process.execPath, ...SERVER],
  {
    // Two log lines per request would bury what `sentry local` prints.
    LOG_LEVEL: process.env.LOG_LEVEL || 'warn',
    PORT: String(PORTS.app),
    METRICS_PORT: String(PORTS.metrics),
    // `sentry local` accepts events for any key and project.
    SENTRY_DSN: `http://0123456789abcdef0123456789abcdef@localhost:${PORTS.sentry}/1`,
    SENTRY_ENVIRONMENT: process.env.SENTRY_ENVIRONMENT || 'development',
    SENTRY_RELEASE: process.env.SENTRY_RELEASE || `${name}@${version}`,
    // The demo works without a network.
    SENTRY_CLI_NO_TELEMETRY: '1',
    SENTRY_CLI_NO_UPDATE_CHECK: '1',
    ...(prometheus && { PROMETHEUS_URL: url(PORTS.prometheus) }),
    ...(alertmanager && { ALERTMANAGER_URL: url(PORTS.alertmanager) }),
    ...(jaeger && {
      JAEGER_URL: url(PORTS.jaeger),
      OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `${url(PORTS.otlp, '127.0.0.1')}/v1/traces`,
    }),
  },
  'inherit',
);

for (const child of children) {
  child.once('exit', (code) => {
    if (stopping) return;
    console.error(`${child.spawnargs[0]} exited with code ${code}; stopping the others.`);
    stop(1);
  });
}

async function ready() {
  const deadline = Date.now() + 60_000;
  while (Date.now() < deadline) {
    const response = await fetch(`${url(PORTS.app)}/readyz`).catch(() => undefined);
    if (response?.ok) return;
    await sleep(200);
  }
  console.error(`The application did not respond at ${url(PORTS.app)} within a minute.`);
  stop(1);
}
await ready();

const missing = (program: string) => `not installed: ${program} (or use docker compose up)`;
console.log(`
  The guide      ${url(PORTS.app)}/                 start here
  An error       ${url(PORTS.app)}/trigger-error/   shows below, with its trace
  A counted page ${url(PORTS.app)}/my-view
  The metrics    ${url(PORTS.metrics)}/metrics
  Prometheus     ${prometheus ? url(PORTS.prometheus) : missing('prometheus')}
  Alertmanager   ${alertmanager ? url(PORTS.alertmanager) : missing('alertmanager')}
  Jaeger         ${jaeger ? url(PORTS.jaeger) : missing('jaeger')}
  Grafana, the tracker's pages and the mailbox are in the stack: docker compose up

  Ctrl-C stops everything.
`);
