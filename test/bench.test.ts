import assert from 'node:assert/strict';
import { test } from 'node:test';
import { regressions, toBaseline } from '../bench/baseline.ts';
import { ratios, rotate, summarize } from '../bench/statistics.ts';

test('a summary has the middle of the measurements, whatever their order and number', () => {
  assert.deepEqual(summarize([10, 2, 30]), { median: 10, min: 2, max: 30 });
  assert.deepEqual(summarize([4, 1, 2, 3]), { median: 2.5, min: 1, max: 4 });
  assert.throws(() => summarize([]), RangeError);
});

test('a ratio is taken within a round, so that a slow round does not count as a slow variant', () => {
  assert.deepEqual(ratios([60, 600], [40, 400]), [1.5, 1.5]);
});

test('every variant comes first in some round, and none is left out', () => {
  const rounds = [0, 1, 2, 3].map((round) => rotate(['a', 'b', 'c'], round).join(''));
  assert.deepEqual(rounds, ['abc', 'bca', 'cab', 'abc']);
});

test('only a ratio that is worse than the committed one by more than half in every round is a regression', () => {
  const rows = (...ratios: number[]) => [
    { name: 'bare', ratio: summarize([1]) },
    { name: 'ships', ratio: summarize(ratios) },
  ];
  const baseline = toBaseline(rows(1, 2, 5), ['ships']);
  assert.deepEqual(baseline, { ships: 2 });

  assert.deepEqual(
    regressions(rows(3, 4, 5), baseline),
    [],
    'a round that nothing disturbed counts',
  );
  assert.match(
    regressions(rows(3.01, 4, 5), baseline).join(),
    /ships costs 4\.00 times bare, and 3\.01 at best/,
  );
  assert.match(regressions([], baseline).join(), /ships was not measured/);
});
