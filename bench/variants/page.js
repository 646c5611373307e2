/** What the application's templates need. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export const views = fileURLToPath(new URL('../../views', import.meta.url));

export const context = {
  text: JSON.parse(readFileSync(`${views}/text/en.json`, 'utf8')),
  stylesheet: '/style.css',
  /** Links to Prometheus and Jaeger, which are not there. */
  links: { query: () => '', trace: () => '' },
};
