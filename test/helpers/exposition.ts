import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import type { Selector } from './promql.ts';
import { spawnApp } from './spawn-app.ts';

export interface Sample {
  name: string;
  labels: Record<string, string>;
  value: number;
}

/** The samples in Prometheus's text format. */
export function samplesOf(text: string): Sample[] {
  return text
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => {
      const [, name = '', labels = '', value] = /^([\w:]+)(?:\{(.*?)\})? (\S+)/.exec(line) ?? [];
      const pairs = [...labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)];
      return {
        name,
        labels: Object.fromEntries(pairs.map(([, label = '', value = '']) => [label, value])),
        value: Number(value),
      };
    });
}

/** Starts the application. `samples` visits its pages, and returns what it exports then. */
export async function visitedApp(t: TestContext) {
  const app = await spawnApp(t);
  return {
    async samples(): Promise<Sample[]> {
      for (const path of ['/', '/my-view?seconds=0', '/trigger-error/', '/missing']) {
        await (await app.get(path)).text();
      }
      return samplesOf(await (await fetch(app.metricsUrl)).text());
    },
  };
}

/** Asserts that there are series and labels for a selector, and returns the series. */
export function assertExported({ metric, labels }: Selector, samples: Sample[]): Sample[] {
  const series = samples.filter(({ name }) => name === metric);
  assert.ok(series.length > 0, `the application exports ${metric}`);
  // Prometheus adds the first two.
  const known = ['job', 'instance', ...series.flatMap(({ labels }) => Object.keys(labels))];
  for (const label of labels) assert.ok(known.includes(label), `${metric} has ${label}`);
  return series;
}
