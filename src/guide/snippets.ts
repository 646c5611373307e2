import { readFileSync } from 'node:fs';

/** The files that the guide quotes. They are in the image, too: see the Dockerfile. */
const FILES = [
  'src/instrument.ts',
  'src/guide/user.ts',
  'src/metrics.ts',
  'src/routes/count-requests.ts',
  'src/routes/my-view.ts',
  'src/routes/trigger-error.ts',
  'src/routes/work.ts',
  'prometheus.yml',
  'prometheus/rules/alerts.yml',
  'prometheus/rules/recording.yml',
  'alertmanager.yml',
];

/** JSON has no comments to mark a region with: the guide quotes the query of the first panel. */
const DASHBOARD = 'grafana/dashboards/application.json';

const REGION = /^ *(?:\/\/ )?#region (?<name>\S+)\n(?<code>.*?)^ *(?:\/\/ )?#endregion$/gms;

export interface Snippet {
  file: string;
  code: string;
}

/** What stands between `#region name` and `#endregion` in these files, by the name. */
export function readSnippets(): Record<string, Snippet> {
  const snippets: Record<string, Snippet> = {};
  for (const file of FILES) {
    const source = readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8');
    for (const { groups: { name = '', code = '' } = {} } of source.matchAll(REGION)) {
      const indentation = Math.min(...[...code.matchAll(/^ *(?=\S)/gm)].map(([s]) => s.length));
      snippets[name] = { file, code: code.replaceAll(RegExp(`^ {${indentation}}`, 'gm'), '') };
    }
  }
  const dashboard = readFileSync(new URL(`../../${DASHBOARD}`, import.meta.url), 'utf8');
  const [query = ''] = /^ *"targets": \[\n.*?\n {6}\]/ms.exec(dashboard) ?? [];
  snippets.panel = { file: DASHBOARD, code: `${query.replaceAll(/^ {6}/gm, '')}\n` };
  return snippets;
}
