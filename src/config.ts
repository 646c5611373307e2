import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';

const packageJson = JSON.parse(
  readFileSync(new URL('../package.json', import.meta.url), 'utf8'),
) as { name?: string; version?: string };

export const version = packageJson.version ?? '';

interface Setting<Value> {
  default: Value;
  /** Completes the sentence "<NAME> takes ..."; `.env.example` explains each for an operator. */
  takes: string;
  /** Reads what the variable holds; undefined is what it does not take. */
  read: (text: string) => Value | undefined;
  /** Not to be repeated in messages. */
  isSecret?: boolean;
}

function text(
  isRight: (text: string) => boolean,
  setting: Omit<Setting<string>, 'read'>,
): Setting<string> {
  return { ...setting, read: (text) => (isRight(text) ? text : undefined) };
}

/** Digits, and nothing else that JavaScript takes for a number: "", " ", "0x1F", "1e400", "Infinity". */
function number(
  form: RegExp,
  [minimum, maximum]: [number, number],
  setting: Omit<Setting<number>, 'read'>,
): Setting<number> {
  const read = (text: string) => {
    const value = form.test(text) ? Number(text) : Number.NaN;
    return value >= minimum && value <= maximum ? value : undefined;
  };
  return { ...setting, read };
}
const INTEGER = /^\d+$/;
const DECIMAL = /^\d*\.?\d+$/;

const port = (value: number) =>
  number(INTEGER, [0, 65_535], { default: value, takes: 'a TCP port, 0 to 65535' });

const link = text((text) => text === '' || (/^https?:\/\/\S+$/.test(text) && URL.canParse(text)), {
  default: '',
  takes: 'an http:// or https:// address, or nothing for no link',
});

/** A service's address, to which the pages append paths: with or without a slash at the end. */
const service: Setting<string> = {
  ...link,
  read: (text) => link.read(text)?.replace(/\/+$/, ''),
};

/** An address to bind, as Node.js wants it: an IPv6 address without the brackets of a URL. */
function readBindAddress(text: string): string | undefined {
  const address = /^\[(.*)\]$/.exec(text)?.[1] ?? text;
  // If "localhost" has two addresses, Fastify makes a second server, which no stop waits for.
  if (text === 'localhost') return '127.0.0.1';
  if (isIP(address)) return address;
  return /^[\w-]+(\.[\w-]+)*\.?$/.test(text) ? text : undefined;
}

/** Whether a client can send every name as its Host: in small letters, without a port, in ASCII. */
function areHosts(text: string): boolean {
  if (text === '*') return true;
  return text
    .toLowerCase()
    .split(',')
    .every((name) => {
      if (!/^(\[[\da-f:.]+\]|[\w-]+(\.[\w-]+)*)$/.test(name)) return false;
      // As a browser writes it: "127.1" comes as "127.0.0.1", and "[0::1]" as "[::1]".
      return URL.canParse(`http://${name}`) && new URL(`http://${name}`).hostname === name;
    });
}

/** Whether the SDK takes the text as a DSN. With one that it does not take it runs, and sends nothing. */
function isDsn(text: string): boolean {
  // The form with a secret behind the key is Sentry's old one.
  const form =
    /^https?:\/\/\w+(:\w*)?@(\[[\da-f:.]+\]|[\w-]+(?:\.[\w-]+)*\.?)(:0*[1-9]\d*)?\/([^\s?#\\]+\/)?\d+$/i;
  return text === '' || (form.test(text) && /^https?:/.test(text) && URL.canParse(text));
}

/** Whether Sentry keeps it as the name of a release or an environment: it drops others silently. */
function isSentryName(text: string, maximum: number, reserved: RegExp): boolean {
  const length = Buffer.byteLength(text);
  const hasOddCharacter = /[\s/\\\p{Control}]/u.test(text);
  return length > 0 && length <= maximum && !hasOddCharacter && !reserved.test(text);
}
const isRelease = (text: string) => isSentryName(text, 200, /^(\.|\.\.|latest)$/i);
const isEnvironment = (text: string) => isSentryName(text, 64, /^(\.|\.\.|none)$/i);

/** The release of a package: "acme-shop@1.0.0" for version 1.0.0 of "@acme/shop". */
export function releaseOf({ name = '', version = '' }: { name?: string; version?: string }) {
  const parts = [name.replace(/^@/, ''), version].filter((part) => part !== '');
  const release = parts
    .join('@')
    .replaceAll(/[^\w.+@-]/g, '-')
    .slice(0, 200);
  return isRelease(release) ? release : 'unknown';
}

/** Whether spans can be sent there. fetch() takes no address with a password in it. */
function isEndpoint(text: string): boolean {
  if (text === '') return true;
  if (!/^https?:\/\/\S+$/.test(text) || !URL.canParse(text)) return false;
  const { username, password } = new URL(text);
  return username === '' && password === '';
}

const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'];

/** Every setting, by the name of its environment variable. */
const settings = {
  PORT: port(8000),
  // Only this machine can connect unless the operator says otherwise; the container image does.
  HOST: {
    default: '127.0.0.1',
    takes: 'an address or a name of this machine, without a port: 127.0.0.1, ::1 or localhost',
    read: readBindAddress,
  },
  METRICS_PORT: port(9464),
  ALLOWED_HOSTS: text(areHosts, {
    default: 'localhost,127.0.0.1,[::1]',
    takes:
      'host names as browsers send them, without schemes, ports, wildcards and dots at the end, ' +
      'separated by commas (shop.example.com,[::1]), or * alone for any',
  }),
  ERRORS_PER_SECOND: number(INTEGER, [1, 1_000_000], {
    default: 50,
    takes: 'a number of errors that one client may trigger in a second, 1 to 1000000',
  }),
  LOG_LEVEL: text((text) => LOG_LEVELS.includes(text), {
    default: 'info',
    takes: `one of ${LOG_LEVELS.join(', ')}`,
  }),
  COOKIE_SECRET: text((text) => /^(.{32,})?$/.test(text), {
    default: '',
    takes: 'at least 32 characters, or nothing for a new secret at every start',
    isSecret: true,
  }),
  SENTRY_DSN: text(isDsn, {
    default: '',
    takes: 'a DSN such as https://KEY@HOST/PROJECT_ID, or nothing to turn Sentry off',
  }),
  SENTRY_ENVIRONMENT: text(isEnvironment, {
    default: 'development',
    takes:
      'a name of at most 64 bytes without spaces, slashes, backslashes and control characters, ' +
      'other than ".", ".." and "none"',
  }),
  SENTRY_RELEASE: text(isRelease, {
    default: releaseOf(packageJson),
    takes:
      'a name of at most 200 bytes without spaces, slashes, backslashes and control characters, ' +
      'other than ".", ".." and "latest"',
  }),
  SENTRY_TRACES_SAMPLE_RATE: number(DECIMAL, [0, 1], {
    default: 1,
    takes: 'the share of requests to trace, 0 to 1',
  }),
  // More than a few visitors make, and all that a flood of requests can cost.
  SENTRY_MAX_TRACES_PER_SECOND: number(DECIMAL, [1, 1_000_000], {
    default: 10,
    takes: 'a number of traces, 1 to 1000000',
  }),
  SENTRY_SPOOL_DIRECTORY: text(() => true, {
    default: '',
    takes: 'a folder that can be written to, or nothing to keep events in memory only',
  }),
  OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: text(isEndpoint, {
    default: '',
    takes:
      'an address such as http://HOST:4318/v1/traces, without a user and a password, ' +
      'or nothing to send no spans',
  }),
  OTEL_SERVICE_NAME: text((text) => text.trim() !== '', {
    default: packageJson.name ?? 'unknown_service:node',
    takes: 'a name that is not empty',
  }),
  SENTRY_URL: service,
  SENTRY_EVENT_URL: link,
  SENTRY_LOGIN: text(() => true, { default: '', takes: "the demo tracker's email:password" }),
  METRICS_URL: link,
  PROMETHEUS_URL: service,
  GRAFANA_URL: service,
  ALERTMANAGER_URL: service,
  MAILDEV_URL: service,
  JAEGER_URL: service,
};

type Settings = typeof settings;

/** The settings as the application reads them. */
export type Config = { readonly [Name in keyof Settings]: Settings[Name]['default'] };

/** A setting that the application cannot start with. The message is meant for the operator. */
export class ConfigError extends Error {}

/**
 * Reads the settings from environment variables.
 *
 * @throws {ConfigError} one line for each bad value: the variable, what it got and what it takes.
 */
export function readConfig(environment: NodeJS.ProcessEnv): Config {
  const mistakes: string[] = [];
  const values = Object.entries<Setting<unknown>>(settings).map(([name, setting]) => {
    const text = environment[name];
    const value = text === undefined ? setting.default : setting.read(text);
    if (value === undefined) {
      const got = setting.isSecret ? 'a secret of another form' : quoted(text);
      mistakes.push(`${name} is ${got}, but takes ${setting.takes}.`);
    }
    return [name, value];
  });
  const config: Config = Object.freeze(Object.fromEntries(values));
  // 0 is any port that is free.
  if (config.PORT === config.METRICS_PORT && config.PORT > 0) {
    mistakes.push(`PORT and METRICS_PORT are both ${config.PORT}, but take two different ports.`);
  }
  if (mistakes.length > 0) throw new ConfigError(mistakes.join('\n'));
  return config;
}

/** A value for a message, without the user and the password that an address may have. */
function quoted(text = ''): string {
  return JSON.stringify(text.replace(/(?<=:\/\/).*@|^(?!.*:\/\/).*:.*@/s, '***@'));
}

function readConfigOrExit(): Config {
  try {
    return readConfig(process.env);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    // The logger does not exist yet, and a stack would only hide the line that helps.
    console.error(error.message);
    process.exit(1);
  }
}

export const config = readConfigOrExit();
