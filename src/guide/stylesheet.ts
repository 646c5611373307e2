import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { FastifyInstance } from 'fastify';

/** The one static file of the pages, read once: not worth a file server. */
export default async function stylesheet(app: FastifyInstance, { views }: { views: string }) {
  const css = await readFile(join(views, 'style.css'));
  const options = { logLevel: 'warn', config: { traced: false } } as const;
  app.get('/style.css', options, async (_request, reply) =>
    reply.type('text/css').header('cache-control', 'max-age=3600').send(css),
  );
}
