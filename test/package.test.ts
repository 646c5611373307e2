import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';

test('every package supports this version of Node.js', () => {
  const args = ['ci', '--dry-run', '--engine-strict', '--offline'];
  const { status, stderr } = spawnSync('npm', args, { encoding: 'utf8' });
  assert.equal(status, 0, stderr);
});
