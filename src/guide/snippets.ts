import { readFileSync } from 'node:fs';
import hljs from 'highlight.js/lib/core';
import typescript from 'highlight.js/lib/languages/typescript';
import yaml from 'highlight.js/lib/languages/yaml';

hljs.registerLanguage('ts', typescript);
hljs.registerLanguage('yml', yaml);

const MARK = /^ *(?:\/\/ )?#(?:end)?region.*\n/gm;
const REGION = /^ *(?:\/\/ )?#region (?<name>\S+)\n(?<code>.*?)^ *(?:\/\/ )?#endregion$/gms;

export interface Snippet {
  file: string;
  html: string;
}

/**
 * Reads a file that the guide quotes: "src/metrics.ts" whole, or of "src/metrics.ts#metrics" what is
 * between `#region metrics` and `#endregion`. The Dockerfile copies these files.
 *
 * @throws if there is no such region.
 */
export function readSnippet(name: string): Snippet {
  const [file = '', region] = name.split('#');
  const source = readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8');
  const code = region ? regionsOf(source).get(region) : source.replaceAll(MARK, '');
  if (!code) throw new Error(`${file} has no "#region ${region}", which the guide quotes`);
  const language = file.split('.').at(-1) ?? '';
  return { file, html: hljs.highlight(unindent(code), { language }).value };
}

const regionsOf = (source: string) =>
  new Map([...source.matchAll(REGION)].map(({ groups }) => [groups?.name, groups?.code]));

function unindent(code: string): string {
  const indentation = Math.min(...[...code.matchAll(/^ *(?=\S)/gm)].map(([s]) => s.length));
  return code.replaceAll(RegExp(`^ {${indentation}}`, 'gm'), '');
}
