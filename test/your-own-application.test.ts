/** Copies src/monitoring to a bare application, as docs/your-own-application.md describes. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
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

const page = readFileSync('docs/your-own-application.md', 'utf8');
const server = [...page.matchAll(/^```ts\n(.*?)^```$/gms)]
  .map(([, block = '']) => block)
  .find((block) => block.includes('register(monitoring'));
assert.ok(server, 'the page has a block of TypeScript with register(monitoring');

const PACKAGES = ['@sentry/node', 'prom-client', 'fastify-plugin'];
const TSCONFIG = {
  compilerOptions: {
    target: 'es2023',
    module: 'nodenext',
    rewriteRelativeImportExtensions: true,
    sourceMap: true,
    types: ['node'],
    rootDir: 'src',
    outDir: 'dist',
  },
};
/** Not started: its types differ from those of HTTP/1. */
const HTTP2 = `import Fastify from 'fastify';
import monitoring, { labelsOf, onEnd, recordedTraceId, traceIds } from './monitoring/index.ts';

const app = Fastify({ http2: true, ...traceIds });
await app.register(monitoring);
app.get('/', { config: { traced: false } }, async (request, reply) => {
  onEnd(reply, (statusCode) => console.log(labelsOf(request), statusCode, recordedTraceId()));
  return request.failure?.eventId;
});
`;

/** A folder with the two things to copy, the page's server file, and the packages that they need. */
function takeHome(t: TestContext, ports: { app: string; metrics: string }) {
  const folder = mkdtempSync(join(tmpdir(), 'own-application-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const edit = (file: string, change: (source: string) => string) =>
    writeFileSync(join(folder, file), change(readFileSync(join(folder, file), 'utf8')));

  mkdirSync(join(folder, 'src'));
  for (const path of ['src/instrument.ts', 'src/monitoring']) {
    cpSync(path, join(folder, path), { recursive: true });
  }
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ type: 'module' }));
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(TSCONFIG));
  writeFileSync(join(folder, 'src/http2.ts'), HTTP2);
  writeFileSync(
    join(folder, 'src/server.ts'),
    String(server)
      .replace(/(metrics: \{ port: )\d+/, `$1${ports.metrics}`)
      .replace(/(listen\(\{ port: )\d+/, `$1${ports.app}`),
  );
  for (const name of [...PACKAGES, 'fastify', '@types/node']) {
    const link = join(folder, 'node_modules', name);
    mkdirSync(dirname(link), { recursive: true });
    symlinkSync(resolve('node_modules', name), link, 'junction');
  }
  return {
    edit,
    remove: (file: string) => rmSync(join(folder, file)),
    build(...options: string[]) {
      const tsc = [resolve('node_modules/typescript/bin/tsc'), ...options];
      const { status, stdout } = spawnSync(process.execPath, tsc, {
        cwd: folder,
        encoding: 'utf8',
      });
      assert.equal(status, 0, stdout);
    },
    start(args: string[], environment: Record<string, string>) {
      const child = spawn(process.execPath, [...args, 'dist/server.js'], {
        cwd: folder,
        env: { PATH: process.env.PATH, ...environment },
      });
      t.after(() => child.kill('SIGKILL'));
      let output = '';
      for (const stream of [child.stdout, child.stderr]) {
        stream.on('data', (chunk) => {
          output += chunk;
        });
      }
      return { child, output: () => output };
    },
  };
}

for (const isWhole of [true, false]) {
  const what = isWhole ? 'as it is' : 'without the optional files and ...traceIds';
  test(`a bare application with the folder ${what}`, async (t) => {
    const sink = await startEnvelopeSink(t);
    const ports = { app: await freePort(), metrics: await freePort() };
    const own = takeHome(t, ports);
    if (!isWhole) {
      own.remove('src/monitoring/otlp-traces.ts');
      own.remove('src/monitoring/spool.ts');
      own.edit('src/instrument.ts', (source) =>
        source
          .replace(/^import .*spool\.ts.*\n/m, '')
          .replace(/^ *transport: spoolTransport\(.*?\),\n/ms, ''),
      );
      own.edit('src/server.ts', (source) =>
        source.replace(', ...traceIds', '').replace(', { traceIds }', ''),
      );
    }
    own.build('--strict', 'false');
    own.build('--strict', '--noUnusedLocals');

    const instrument = ['--enable-source-maps', '--import', './dist/instrument.js'];
    const { child, output } = own.start(instrument, { SENTRY_DSN: sink.dsn });
    await eventually(() => assert.match(output(), /Server listening/, output()));
    const response = await fetch(`http://localhost:${ports.app}/orders/1`);
    assert.equal(response.status, 500);
    const traceId = response.headers.get('x-trace-id');
    const id = isWhole ? `"trace_id":"${traceId}"` : '"reqId":"req-1"';
    assert.ok(output().includes(id), output());
    const series = 'http_request_duration_seconds_count{method="GET",endpoint="/orders/:id"';
    const metrics = await (await fetch(`http://localhost:${ports.metrics}/metrics`)).text();
    assert.ok(metrics.includes(`${series},status_code="500"} 1\n`));

    // The last event is sent while the application closes.
    child.kill('SIGTERM');
    await once(child, 'close');
    const [event] = sink.items('event');
    assert.equal(event.transaction, 'GET /orders/:id');
    assert.equal(event.contexts.trace.trace_id, traceId);
    const { filename, context_line } = event.exception.values[0].stacktrace.frames.at(-1);
    assert.match(filename, /src[\\/]server\.ts$/);
    assert.match(context_line, /throw new Error/);
    assert.equal(sink.items('transaction')[0]?.contexts.trace.trace_id, traceId);

    if (!isWhole) return;
    const forgetful = own.start([], {});
    await eventually(() => assert.match(forgetful.output(), /Sentry\.init was not called/));
  });
}
