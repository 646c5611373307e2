/** Does what docs/your-own-application.md says, to an application that has nothing else. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { type TestContext, test } from 'node:test';
import { startEnvelopeSink } from './helpers/envelope-sink.ts';
import { eventually } from './helpers/eventually.ts';
import { freePort } from './helpers/free-port.ts';

const PAGE = 'docs/your-own-application.md';
const page = readFileSync(PAGE, 'utf8');

/** The first group of the pattern, which the page has to have. */
function fromPage(pattern: RegExp): string {
  const found = pattern.exec(page)?.[1];
  assert.ok(found, `${PAGE} has ${pattern}`);
  return found;
}

const packages = fromPage(/^ {4}npm install (.+)$/m).split(' ');
const lines = fromPage(/^```diff\n(.*?)\n```$/ms).split('\n');
const sourceOf = (lines: string[]) => lines.map((line) => `${line.slice(1)}\n`).join('');
const bareSource = sourceOf(lines.filter((line) => !line.startsWith('+')));
const fullSource = sourceOf(lines);
const nameOf = (spec: string) => spec.replace(/@[\d.]+$/, '');
const startArguments = fromPage(/^ {4}SENTRY_DSN=\S+ node (.+)$/m).split(' ');

/** An application of one file, and only the packages that it and the page name. */
function bareApplication(t: TestContext) {
  const folder = mkdtempSync(join(tmpdir(), 'bare-application-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const write = (file: string, content: string) => writeFileSync(join(folder, file), content);

  mkdirSync(join(folder, 'src'));
  write('package.json', JSON.stringify({ name: '@acme/shop', version: '4.5.6', type: 'module' }));
  const { compilerOptions } = JSON.parse(fromPage(/^```json\n(.*?)^```$/ms));
  write('tsconfig.json', JSON.stringify({ compilerOptions: { strict: true, ...compilerOptions } }));
  write('src/server.ts', bareSource);

  const installed = ['fastify', 'typescript', '@types/node', ...packages.map(nameOf)];
  for (const name of installed) {
    const link = join(folder, 'node_modules', name);
    mkdirSync(dirname(link), { recursive: true });
    symlinkSync(resolve('node_modules', name), link);
  }

  return {
    write,
    copy: (file: string) => cpSync(file, join(folder, file), { recursive: true }),
    build: (...options: string[]) => {
      const tsc = resolve('node_modules/typescript/bin/tsc');
      const built = spawnSync(process.execPath, [tsc, ...options], {
        cwd: folder,
        encoding: 'utf8',
      });
      assert.equal(built.status, 0, built.stdout);
    },
    run(args: string[], environment: Record<string, string>) {
      const child = spawn(process.execPath, args, {
        cwd: folder,
        env: { PATH: process.env.PATH, ...environment },
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      t.after(() => child.kill('SIGKILL'));
      const output: string[] = [];
      for (const stream of [child.stdout, child.stderr]) {
        stream.on('data', (chunk) => output.push(String(chunk)));
      }
      return { child, output: () => output.join('') };
    },
  };
}

test('the packages are of the versions that this application has', () => {
  const { dependencies } = JSON.parse(readFileSync('package.json', 'utf8'));
  for (const spec of packages) {
    const name = nameOf(spec);
    assert.equal(spec, `${name}@${dependencies[name]?.split('.')[0]}`);
  }
});

test('the folder imports nothing from outside of it', () => {
  for (const file of readdirSync('src/monitoring')) {
    const source = readFileSync(join('src/monitoring', file), 'utf8');
    assert.doesNotMatch(source, / from '\.\.\//, file);
  }
});

test('the folder is built also for HTTP/2, and without "strict", which TypeScript 5 leaves out', (t) => {
  const application = bareApplication(t);
  application.copy('src/monitoring');
  application.write(
    'src/http2.ts',
    `import Fastify from 'fastify';
import monitoring, { eventIdOf, isTraced, onEnd, requestLabels, traceIds } from './monitoring/index.ts';

const app = Fastify({ http2: true, ...traceIds });
await app.register(monitoring);
app.get('/', async (request, reply) => {
  onEnd(reply, () => console.log(requestLabels(request), isTraced(request)));
  return eventIdOf(reply);
});
`,
  );
  application.build();
  application.build('--strict', 'false');
});

test('a bare application with the files and lines reports its errors and counts its requests', async (t) => {
  const application = bareApplication(t);
  application.build();

  const sink = await startEnvelopeSink(t);
  application.copy('src/monitoring');
  application.write('src/instrument.ts', fromPage(/^```ts\n(.*?)^```$/ms));
  application.write('src/server.ts', fullSource);
  application.build();

  const [port, metricsPort] = [await freePort(), await freePort()];
  const settings = {
    SENTRY_DSN: sink.dsn,
    SENTRY_TRACES_SAMPLE_RATE: '1',
    SENTRY_RELEASE: 'shop@4.5.6',
    PORT: port,
    METRICS_PORT: metricsPort,
  };
  const { child, output } = application.run(startArguments, settings);
  const metrics = async () => (await fetch(`http://localhost:${metricsPort}/metrics`)).text();
  await eventually(async () => {
    assert.equal(child.exitCode, null, output());
    assert.match(
      await metrics(),
      /^http_request_duration_seconds_count\{.*"\/orders\/:id",status_code="500"\} 0$/m,
    );
  });

  const response = await fetch(`http://localhost:${port}/orders/1`);
  assert.equal(response.status, 500);
  const traceId = response.headers.get('x-trace-id');
  assert.equal((await fetch(`http://localhost:${port}/health`)).status, 200);

  const event = await eventually(() => {
    assert.equal(sink.items('event').length, 1);
    return sink.items('event')[0];
  });
  assert.equal(event.exception.values[0].value, 'no such table: orders');
  const frame = event.exception.values[0].stacktrace.frames.at(-1);
  assert.match(frame.filename, /src\/server\.ts$/);
  assert.match(frame.context_line, /throw new Error\('no such table: orders'\)/);
  assert.equal(event.transaction, 'GET /orders/:id');
  assert.equal(event.contexts.trace.trace_id, traceId);
  const logged = output()
    .split('\n')
    .filter((line) => line.includes('no such table'));
  assert.equal(logged.length, 1);
  assert.equal(JSON.parse(logged[0] ?? '').trace_id, traceId);

  await eventually(async () => {
    const text = await metrics();
    assert.match(
      text,
      /^http_request_duration_seconds_count\{.*"\/orders\/:id",status_code="500"\} 1$/m,
    );
    assert.match(text, /^sentry_events_lost_total\{.*\} 0$/m);
  });

  // An error just before the stop arrives, too.
  await fetch(`http://localhost:${port}/orders/2`);
  child.kill('SIGTERM');
  await once(child, 'close');
  assert.equal(sink.items('event').length, 2);
  assert.deepEqual(
    sink.items('transaction').map(({ transaction }) => transaction),
    ['GET /orders/:id', 'GET /health', 'GET /orders/:id'],
  );

  const file = startArguments.at(-1) ?? '';
  const forgetful = application.run([file], settings);
  await eventually(() => assert.match(forgetful.output(), /Sentry\.init was not called before/));
});
