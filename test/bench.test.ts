import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ratios, rotate, summarize } from '../bench/statistics.ts';

test('a summary has the median, whatever the order and the number of measurements', () => {
  assert.deepEqual(summarize([10, 2, 30]), { median: 10, min: 2, max: 30 });
  assert.deepEqual(summarize([4, 1, 2, 3]), { median: 2.5, min: 1, max: 4 });
});

test('a slow round does not make a slow variant: ratios are taken within a round', () => {
  assert.deepEqual(ratios([60, 600], [40, 400]), [1.5, 1.5]);
});

test('each round begins with another variant, and has all of them', () => {
  const rounds = [0, 1, 2, 3].map((round) => rotate(['a', 'b', 'c'], round).join(''));
  assert.deepEqual(rounds, ['abc', 'bca', 'cab', 'abc']);
});
