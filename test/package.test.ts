import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';

test('every package works on this Node.js, by what it says itself', () => {
  const args = ['ci', '--dry-run', '--engine-strict', '--offline'];
  const { status, stderr } = spawnSync('npm', args, { encoding: 'utf8' });
  assert.equal(status, 0, stderr);
});
