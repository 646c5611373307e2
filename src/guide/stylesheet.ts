import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { FastifyInstance } from 'fastify';

export interface Stylesheet {
  css: string;
  /** It changes with the content, so that a browser never uses an old one. */
  url: string;
}

export function readStylesheet(views: string): Stylesheet {
  const css = readFileSync(join(views, 'style.css'), 'utf8');
  const version = createHash('sha256').update(css).digest('hex').slice(0, 8);
  return { css, url: `/style.css?v=${version}` };
}

/** The only static file, read once: not worth a file server. */
export default async function stylesheet(app: FastifyInstance, { css }: Stylesheet) {
  const options = { logLevel: 'warn', config: { traced: false } } as const;
  app.get('/style.css', options, async (_request, reply) =>
    reply.type('text/css; charset=utf-8').header('cache-control', 'max-age=3600').send(css),
  );
}
