import * as Sentry from '@sentry/node';
import { Gauge } from 'prom-client';

export interface InfoOptions {
  /** The application's. */
  version?: string;
  /** The tracker's address as a browser sees it. */
  trackerUrl?: string;
}

const buildInfo = new Gauge({
  name: 'app_build_info',
  help: 'Always 1; the labels say which build is running',
  labelNames: ['version', 'node_version'],
});
const sentryInfo = new Gauge({
  name: 'sentry_info',
  help: 'Always 1; the labels say where events go. Dashboards take their links from it',
  labelNames: ['url', 'environment', 'release'],
});

/** Sets the metrics that only say what runs, and where its events go. */
export function setInfo({ version = '', trackerUrl: url = '' }: InfoOptions): void {
  buildInfo.set({ version, node_version: process.version }, 1);
  const { environment = '', release = '' } = Sentry.getClient()?.getOptions() ?? {};
  if (Sentry.isEnabled()) sentryInfo.set({ url, environment, release }, 1);
}
