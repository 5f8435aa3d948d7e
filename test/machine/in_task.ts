// A host's code that is run in a task of a machine: it may call what the kernel has, as a host function does.

import type { HostGenerator } from '../../src/guest/hostcall.ts';
import type { Machine } from '../../src/machine/machine.ts';

const FILE = 'calls';
const DIRECTORY = '/kernel/livepatch';
/** Longer than any of it takes, virtual ns. */
const LONGEST = 600e9;

/** In the write to a file of sysfs. @returns the exit status of the task that writes */
export function runInTask(machine: Machine, run: () => HostGenerator<void>): number | undefined {
  machine.inspect.sysfs.mkdirs(DIRECTORY).addFile({
    name: FILE,
    mode: 0o200,
    *store(written) {
      yield* run();
      return written.length;
    },
  });
  const task = machine.spawn('echo', ['1', `/sys${DIRECTORY}/${FILE}`]);
  machine.runUntil(() => machine.exitStatus(task) !== undefined, LONGEST);
  return machine.exitStatus(task);
}
