import { readFileSync } from 'node:fs';
import { envSchema } from 'env-schema';

const packageJson = JSON.parse(
  readFileSync(new URL('../package.json', import.meta.url), 'utf8'),
) as { name: string; version: string };

export const version = packageJson.version;

interface Setting {
  type: 'string' | 'number' | 'integer';
  default: unknown;
  description: string;
  /** Not to be repeated in messages. */
  writeOnly?: boolean;
  [keyword: string]: unknown;
}

const port = {
  type: 'integer',
  minimum: 0,
  maximum: 65535,
  description: 'a TCP port, 0 to 65535',
} as const;
const link = {
  type: 'string',
  pattern: '^(https?://\\S+)?$',
  default: '',
  description: 'an http:// or https:// address, or nothing for no link',
} as const;

/**
 * One JSON schema for every setting, by the name of its environment variable. The descriptions
 * complete the sentence "<NAME> takes ..."; `.env.example` explains each for an operator.
 */
const settings = {
  PORT: { ...port, default: 8000 },
  // Only this machine can connect unless the operator says otherwise; the container image does.
  HOST: { type: 'string', minLength: 1, default: '127.0.0.1', description: 'an address to bind' },
  METRICS_PORT: { ...port, default: 9464 },
  ALLOWED_HOSTS: {
    type: 'string',
    pattern: '^[^\\s,]+(,[^\\s,]+)*$',
    default: 'localhost,127.0.0.1,[::1]',
    description: 'host names without ports, separated by commas, or * for any',
  },
  ERRORS_PER_SECOND: {
    type: 'integer',
    minimum: 1,
    maximum: 1_000_000,
    default: 50,
    description: 'how many errors a client may trigger in a second, 1 to 1000000',
  },
  LOG_LEVEL: {
    type: 'string',
    enum: ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'],
    default: 'info',
    description: 'one of fatal, error, warn, info, debug, trace, silent',
  },
  COOKIE_SECRET: {
    type: 'string',
    writeOnly: true,
    pattern: '^(.{32,})?$',
    default: '',
    description: 'at least 32 characters, or nothing for a new secret at every start',
  },
  SENTRY_DSN: {
    type: 'string',
    // The form with a secret behind the key is Sentry's old one.
    pattern: '^(https?://\\w+(:\\w+)?@[\\w.-]+(:\\d+)?/(\\S+/)?\\d+)?$',
    default: '',
    description: 'a DSN such as https://KEY@HOST/PROJECT_ID, or nothing to turn Sentry off',
  },
  SENTRY_ENVIRONMENT: {
    type: 'string',
    // Sentry's own rule for the names of environments.
    pattern: '^[^\\s/]{1,64}$',
    default: 'development',
    description: 'a name of at most 64 characters without spaces or slashes',
  },
  SENTRY_RELEASE: {
    type: 'string',
    pattern: '^[^\\s/\\\\]{1,200}$',
    default: `${packageJson.name}@${version}`,
    description: 'a name of at most 200 characters without spaces or slashes',
  },
  SENTRY_TRACES_SAMPLE_RATE: {
    type: 'number',
    minimum: 0,
    maximum: 1,
    default: 1,
    description: 'the share of requests to trace, 0 to 1',
  },
  // More than a few visitors make, and all that a flood of requests can cost.
  SENTRY_MAX_TRACES_PER_SECOND: {
    type: 'number',
    minimum: 1,
    maximum: 1_000_000,
    default: 10,
    description: 'a number of traces, 1 to 1000000',
  },
  SENTRY_SEND_TRANSACTIONS: {
    type: 'string',
    enum: ['true', 'false', ''],
    default: 'true',
    description: 'true, or false (or nothing) for a tracker that keeps errors only',
  },
  OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: {
    ...link,
    pattern: '^(https?://[^\\s/@]+(/\\S*)?)?$',
    description: 'an address such as http://HOST:4318/v1/traces, or nothing to send no spans',
  },
  OTEL_SERVICE_NAME: {
    type: 'string',
    pattern: '\\S',
    default: packageJson.name,
    description: 'a name that is not empty',
  },
  SENTRY_URL: link,
  SENTRY_EVENT_URL: link,
  SENTRY_LOGIN: { type: 'string', default: '', description: "the demo tracker's email:password" },
  METRICS_URL: link,
  PROMETHEUS_URL: link,
  GRAFANA_URL: link,
  ALERTMANAGER_URL: link,
  MAILDEV_URL: link,
  JAEGER_URL: link,
} as const satisfies Record<string, Setting>;

type Settings = typeof settings;

/** The settings as the application reads them. */
export type Config = {
  readonly [Name in keyof Settings]: Settings[Name] extends { type: 'string' } ? string : number;
};

/** A setting that the application cannot start with. The message is meant for the operator. */
export class ConfigError extends Error {}

/**
 * Reads the settings from environment variables.
 *
 * @throws {ConfigError} one line for each bad value: the variable, what it got and what it takes.
 */
export function readConfig(environment: NodeJS.ProcessEnv): Config {
  try {
    const config = envSchema<Config>({
      schema: { type: 'object', properties: settings },
      data: environment,
      env: false,
    });
    return Object.freeze(config);
  } catch (error) {
    const mistakes = (error as { errors?: { instancePath: string }[] }).errors;
    if (!mistakes) throw error;
    const names = new Set(mistakes.map((mistake) => mistake.instancePath.slice(1) as keyof Config));
    const lines = [...names].map((name) => {
      const { description, writeOnly }: Setting = settings[name];
      const got = writeOnly ? 'a secret of another form' : JSON.stringify(environment[name]);
      return `${name} is ${got}, but takes ${description}.`;
    });
    throw new ConfigError(lines.join('\n'), { cause: error });
  }
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
