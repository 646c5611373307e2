/**
 * Runs one application with the SDK's own Fastify integration and with src/monitoring, asks both the
 * same, and compares what reaches the tracker. Every difference stands in the table of
 * docs/sentry.md with its reason, which tells what an update of the SDK has changed.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { startCases } from './helpers/cases.ts';
import { type Facts, factsOf } from './helpers/facts.ts';

const PAGE = 'docs/sentry.md';

/** That in one case, at one trace rate, the two do not say the same. */
interface Difference {
  fact: string;
  /** Of test/fixtures/conformance/cases.js; in the table also "everywhere". */
  name: string;
  sdk: string;
  ours: string;
}

const [, table = ''] =
  /^\| what \| where .*?\n.*?\n(.*?)(?:\n\n|$(?![\s\S]))/ms.exec(readFileSync(PAGE, 'utf8')) ?? [];
/** One for each case of each row. */
const known: Difference[] = table
  .split('\n')
  .filter(Boolean)
  .flatMap((row) => {
    const [, fact = '', where = '', sdk = '', ours = '', why] = row.split(/ ?\| ?/);
    assert.ok(why, `${PAGE} gives the reason of: ${row}`);
    const bare = (cell: string) => cell.replaceAll('`', '');
    return where.split('; ').map((name) => ({ fact, name, sdk: bare(sdk), ours: bare(ours) }));
  });

/** All facts of all cases, of one server. */
async function run(t: TestContext, INTEGRATION: string, rate: string) {
  const app = await startCases(t, { INTEGRATION, SENTRY_TRACES_SAMPLE_RATE: rate });
  const facts = new Map<string, Facts>();
  for (const one of app.cases.filter(({ isHostile }) => !isHostile)) {
    const before = app.sink.all.length;
    const answers = await app.ask(one);
    const { leaked } = await app.settled();
    const items = app.sink.all
      .slice(before)
      .filter(({ payload }) => !payload.request?.url?.includes('/control/'));
    facts.set(one.name, factsOf(one, answers, items, leaked));
  }
  return facts;
}

async function compare(t: TestContext, rate: string): Promise<Difference[]> {
  const [sdkFacts, ourFacts] = await Promise.all([run(t, 'sdk', rate), run(t, 'folder', rate)]);
  assert.ok(sdkFacts.size > 100);
  return [...sdkFacts].flatMap(([name, sdk]) => {
    const ours = ourFacts.get(name) ?? {};
    return (
      Object.keys(sdk)
        .filter((fact) => sdk[fact] !== ours[fact])
        // Of what only one of them sent there is nothing to be compared.
        .filter((fact) => !fact.startsWith('event: ') || sdk.events === ours.events)
        .filter(
          (fact) => !fact.startsWith('transaction: ') || sdk.transactions === ours.transactions,
        )
        .map((fact) => ({ name, fact, sdk: sdk[fact] ?? '', ours: ours[fact] ?? '' }))
    );
  });
}

/** As a row of the table, to be copied into it. */
const rowOf = ({ fact, name, sdk, ours }: Difference) =>
  `| ${fact} | ${name} | \`${sdk}\` | \`${ours}\` |`;

test('held against the SDK’s own integration', async (t) => {
  const found = [...(await compare(t, '1')), ...(await compare(t, '0'))];
  const foundRows = new Set(
    found.flatMap((one) => [rowOf(one), rowOf({ ...one, name: 'everywhere' })]),
  );
  const knownRows = new Set(known.map(rowOf));

  await t.test(`every difference is in the table of ${PAGE}`, () => {
    const unknown = found.filter(
      (one) => !knownRows.has(rowOf(one)) && !knownRows.has(rowOf({ ...one, name: 'everywhere' })),
    );
    assert.equal([...new Set(unknown.map(rowOf))].join('\n'), '');
  });

  await t.test('every row of the table is a difference', () => {
    assert.equal([...knownRows].filter((row) => !foundRows.has(row)).join('\n'), '');
  });
});
