import { readFileSync } from 'node:fs';

/** The queries of docs/promql.md, with what scripts/promql.ts writes below them. */
export const documentedQueries = readFileSync('docs/promql.md', 'utf8')
  .split('```promql\n')
  .slice(1)
  .map((part) => ({
    query: part.split('\n```', 1)[0] ?? '',
    link: /^\[Run it\]\((.*?)\)$/m.exec(part)?.[1],
    /** The first of its lines. */
    answer: /^```text\n(.*)$/m.exec(part)?.[1] ?? '',
  }));
