import { readFileSync } from 'node:fs';
import hljs from 'highlight.js/lib/core';
import json from 'highlight.js/lib/languages/json';
import typescript from 'highlight.js/lib/languages/typescript';
import yaml from 'highlight.js/lib/languages/yaml';

hljs.registerLanguage('json', json);
hljs.registerLanguage('ts', typescript);
hljs.registerLanguage('yml', yaml);

const MARK = /^ *(?:\/\/ )?#(?:end)?region.*\n/gm;

export interface Snippet {
  file: string;
  html: string;
}

/**
 * Reads a file that the guide quotes: all of "src/metrics.ts", or for "src/metrics.ts#metrics" the
 * lines between `#region metrics` and `#endregion`; of a JSON file, which has no comments, the
 * first property of that name. The Dockerfile copies these files.
 *
 * @throws if there is no such region.
 */
export function readSnippet(name: string): Snippet {
  const [file = '', region] = name.split('#');
  const source = readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8');
  const language = file.split('.').at(-1) ?? '';
  const quote = language === 'json' ? propertyOf : regionOf;
  const code = region ? quote(source, region) : source.replaceAll(MARK, '');
  if (!code) throw new Error(`${file} has no region ${region}, which the guide quotes`);
  return { file, html: hljs.highlight(unindent(code), { language }).value };
}

const regionOf = (source: string, name: string) =>
  RegExp(`#region ${name}\\n(.*?)^[ /]*#endregion$`, 'ms').exec(source)?.[1];

/** An object or an array, which ends at the indentation of its name. */
const propertyOf = (source: string, name: string) =>
  RegExp(`^( *)"${name}": [[{]\\n.*?^\\1[\\]}]`, 'ms').exec(source)?.[0];

function unindent(code: string): string {
  const indentation = Math.min(...[...code.matchAll(/^ *(?=\S)/gm)].map(([s]) => s.length));
  return code.replaceAll(RegExp(`^ {${indentation}}`, 'gm'), '');
}
