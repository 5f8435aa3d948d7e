// A task that a transition took for switched while it stands in replaced code is told of in the shell as in a run.

import { afterEach, expect, it } from 'vitest';
import { Session } from './session.ts';

let session: Session;

afterEach(() => session.machine.close());

it('a task that force left in old code is told of when the next patch does not see it', async () => {
  session = await Session.boot(['klpdemo_target', 'klpdemo_patch_target', 'klpdemo_patch_both']);
  const { shell } = session;
  await shell.execute('modprobe klpdemo_target block=1; sleep 0.5; modprobe klpdemo_patch_target; sleep 1');
  await shell.execute('echo 1 > /sys/kernel/livepatch/klpdemo_patch_target/force; sleep 2');
  const { stdout, stderr } = await shell.execute('modprobe klpdemo_patch_both; sleep 5');
  expect(stdout).toBe('');
  expect(stderr.replace(/:\d+/, '')).toBe(
    'klpemu: hole klpdemo_worker still in the original klpdemo_round, left there by force of ' +
      "'klpdemo_patch_target': 'klpdemo_patch_both' does not see it (docs/findings.md)\n",
  );
});

it('a task in a part of a function is told of with the write that lets its transition begin', async () => {
  session = await Session.boot(['klpdemo_cold', 'klpdemo_patch_cold'], { cpus: 1, seed: 7 });
  const { shell } = session;
  await shell.execute('modprobe klpdemo_cold hold_ms=1000; sleep 0.1');
  const hole =
    / in klpdemo_step\.cold, a part of the original klpdemo_step: 'klpdemo_patch_cold' does not see it/;
  expect((await shell.execute('modprobe klpdemo_patch_cold; sleep 0.5')).stderr).toMatch(hole);
  await shell.execute('sleep 1.4');
  const disabling = 'echo 0 > /sys/kernel/livepatch/klpdemo_patch_cold/enabled; sleep 0.5';
  expect((await shell.execute(disabling)).stderr).toMatch(/^klpemu: hole .* in klpdemo_new_step\.cold/);
});
