import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** The application's own templates. */
export const views = fileURLToPath(new URL('../../views', import.meta.url));

export const englishText = JSON.parse(readFileSync(`${views}/text/en.json`, 'utf8'));

/** What the templates ask for. The application's own brings its metrics with it, and bare has none. */
export const context = {
  stylesheet: '/style.css',
  /** A link to Prometheus, which is not there. */
  query: () => '',
  /** A link to Jaeger, neither. */
  traceUrl: () => '',
  /** A link to the page itself with other parameters. */
  addParameters: (address, parameters) =>
    `?${new URLSearchParams({ ...Object.fromEntries(new URLSearchParams(address)), ...parameters })}`,
};
