/** The application's settings: environment variables, checked before anything starts. */

interface Setting<Value> {
  default: Value;
  /** Completes the sentence "<NAME> must be ..."; `.env.example` explains each setting. */
  expected: string;
  /** The value of the variable; undefined if it is not valid. */
  read: (text: string) => Value | undefined;
}

const text = (fallback: string, expected: string, isValid: (text: string) => boolean) =>
  ({
    default: fallback,
    expected,
    read: (text) => (isValid(text) ? text : undefined),
  }) satisfies Setting<string>;

/** Decimal digits only: JavaScript converts "", " " and "0x1F" to numbers, too. */
const number = (fallback: number, [min, max]: [number, number], expected: string, form: RegExp) =>
  ({
    default: fallback,
    expected: `${expected}, ${min} to ${max}`,
    read(text) {
      const value = form.test(text) ? Number(text) : Number.NaN;
      return value >= min && value <= max ? value : undefined;
    },
  }) satisfies Setting<number>;
const DECIMAL = /^\d*\.?\d+$/;

const port = (fallback: number) => number(fallback, [0, 65_535], 'a port number', /^\d+$/);

const isUrl = (text: string) => /^https?:\/\/\S+$/.test(text) && URL.canParse(text);

const link = text(
  '',
  'an http:// or https:// URL, or empty for no link',
  (text) => text === '' || isUrl(text),
);

/** A service to whose URL the pages append paths. */
const service: Setting<string> = {
  ...link,
  read: (text) => link.read(text)?.replace(/\/+$/, ''),
};

/** The SDK ignores a DSN that it cannot parse, and then sends nothing. */
const DSN = /^https?:\/\/\w+(:\w*)?@(\[[\da-fA-F:.]+\]|[\w.-]+)(:\d+)?\/([^\s?#\\]+\/)?\d+$/;

/** fetch() rejects a URL with a password in it. */
const isEndpoint = (text: string) => isUrl(text) && !new URL(text).username;

/** Sentry drops events with other release and environment names. */
const sentryName = (fallback: string, max: number, reserved: string[]) =>
  text(
    fallback,
    `a name of at most ${max} bytes without spaces, slashes and control characters, ` +
      `other than ${reserved.map((name) => JSON.stringify(name)).join(', ')}`,
    (text) =>
      text.length > 0 &&
      Buffer.byteLength(text) <= max &&
      !/[\s/\\\p{Control}]/u.test(text) &&
      !reserved.includes(text.toLowerCase()),
  );

const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'];

const settings = {
  // By default only this machine can connect. The container image changes that.
  HOST: text('127.0.0.1', 'an IP address or a host name', (text) => /^[\w.:%-]+$/.test(text)),
  PORT: port(8000),
  METRICS_PORT: port(9464),
  LOG_LEVEL: text('info', `one of ${LOG_LEVELS.join(', ')}`, (text) => LOG_LEVELS.includes(text)),

  // These four are for the SDK, which reads them itself in src/instrument.ts.
  SENTRY_DSN: text(
    '',
    'a DSN such as https://KEY@HOST/PROJECT_ID, or empty to turn Sentry off',
    (text) => text === '' || (DSN.test(text) && URL.canParse(text)),
  ),
  SENTRY_ENVIRONMENT: sentryName('production', 64, ['.', '..', 'none']),
  SENTRY_RELEASE: sentryName('', 200, ['.', '..', 'latest']),
  SENTRY_TRACES_SAMPLE_RATE: number(1, [0, 1], 'the share of requests to trace', DECIMAL),
  SENTRY_MAX_TRACES_PER_SECOND: number(10, [1, 1_000_000], 'a number of traces', DECIMAL),

  OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: text(
    '',
    'a URL such as http://HOST:4318/v1/traces without a password, or empty to send no spans',
    (text) => text === '' || isEndpoint(text),
  ),
  OTEL_SERVICE_NAME: text('fastify-sentry-prometheus', 'a name', (text) => text.trim() !== ''),

  // Links on the pages.
  SENTRY_URL: service,
  SENTRY_EVENT_URL: link,
  SENTRY_LOGIN: text('', "the demo tracker's email:password", () => true),
  PROMETHEUS_URL: service,
  GRAFANA_URL: service,
  ALERTMANAGER_URL: service,
  MAILDEV_URL: service,
  JAEGER_URL: service,
};

type Settings = typeof settings;

export type Config = { readonly [Name in keyof Settings]: Settings[Name]['default'] };

/** Settings that the application cannot start with. The message is meant for the operator. */
export class ConfigError extends Error {}

/**
 * Reads the settings from environment variables.
 *
 * @throws {ConfigError} with one line for each invalid setting: its value, and what was expected.
 */
export function readConfig(environment: NodeJS.ProcessEnv): Config {
  const errors: string[] = [];
  const values = Object.entries<Setting<unknown>>(settings).map(([name, setting]) => {
    const text = environment[name];
    const value = text === undefined ? setting.default : setting.read(text);
    if (value === undefined) {
      errors.push(`${name} is ${quote(text)}, but must be ${setting.expected}.`);
    }
    return [name, value];
  });
  const config: Config = Object.freeze(Object.fromEntries(values));
  // Port 0 is any free port.
  if (config.PORT === config.METRICS_PORT && config.PORT > 0) {
    errors.push(`PORT and METRICS_PORT are both ${config.PORT}, but must be two different ports.`);
  }
  if (errors.length > 0) throw new ConfigError(errors.join('\n'));
  return config;
}

/** A value for a message, without the key or the password that it may contain. */
const quote = (text = '') => JSON.stringify(text.replace(/^(.*:\/\/)?.*@/s, '$1***@'));
