/** What the application's templates need. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export const views = fileURLToPath(new URL('../../views', import.meta.url));

export const context = {
  text: JSON.parse(readFileSync(`${views}/text/en.json`, 'utf8')),
  stylesheet: '/style.css',
  /** A link to Prometheus, which is not there. */
  query: () => '',
  /** A link to Jaeger, neither. */
  traceUrl: () => '',
  /** A link to the page itself with other parameters. */
  addParameters: (address, parameters) =>
    `?${new URLSearchParams({ ...Object.fromEntries(new URLSearchParams(address)), ...parameters })}`,
};
