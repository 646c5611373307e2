import { readFileSync } from 'node:fs';

/** A README's contents, apart from its prose. */
export function readReadme(file: string) {
  const text = readFileSync(file, 'utf8');
  const all = (pattern: RegExp) => [...text.matchAll(pattern)].map(([, found = '']) => found);
  const blocks = all(/^((?: {4}.*\n)+)/gm).flatMap((block) => block.trimEnd().split('\n'));
  const lines = blocks.map((line) => line.trim());
  const code = all(/`([^`\n]+)`/g);
  return {
    /** The levels of its headings. */
    sections: all(/^(#+) /gm),
    /** Lines to be copied, in their order. */
    lines,
    code,
    links: [...all(/\]\(([^)\s]+)\)/g), ...all(/<(https?:[^>]+)>/g)],
    settings: all(/^\| ((?:`\w+`(?:, )?)+) \|/gm).flatMap((cell) =>
      [...cell.matchAll(/\w+/g)].map(([name]) => name),
    ),
    /** All commands: code that is more than a name, a value or a line of a file. */
    commands: [...lines, ...code].filter((text) =>
      /^(\w+=\S* )?(npm|docker|curl|chmod) (?!--)/.test(text),
    ),
  };
}
