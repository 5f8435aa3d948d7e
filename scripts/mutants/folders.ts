// The folders whose mutants are tested, and which tests are run on them: their own, and those of others that live on what they
// do. A mutant that these do not notice is one that others of `npm test` may notice all the same.

interface Folder {
  /** Test files, by the beginnings of their paths in test/. */
  readonly tests: readonly string[];
  /** Of those, what is not: it is slow, and has nothing that the others have not. */
  readonly without?: readonly string[];
}

export const FOLDERS: Readonly<Record<string, Folder>> = {
  livepatch: {
    tests: ['livepatch/', 'machine/gap', 'shell/why.test'],
    without: ['livepatch/samples', 'livepatch/observed_stall'],
  },
  ftrace: { tests: ['ftrace/', 'livepatch/core', 'livepatch/order', 'livepatch/transition'] },
  unwind: { tests: ['unwind/', 'machine/ground_truth', 'machine/gap'] },
  module: {
    tests: [
      'module/',
      'machine/modules_bad',
      'machine/parameters',
      'livepatch/core',
      'livepatch/klp_convert',
      'livepatch/self_switching',
      'bundle/two_loads',
      'submodules/',
    ],
  },
  bundle: {
    tests: ['bundle/', 'shell/bundle', 'shell/why_gate'],
    without: ['bundle/many_members', 'bundle/split_real'],
  },
  sched: {
    tests: [
      'sched/',
      'machine/sleeping',
      'machine/spaces',
      'machine/idle',
      'machine/percpu_works',
      'livepatch/born_and_gone',
      'livepatch/signals',
      'bundle/gate_deadlock',
    ],
  },
};

/** Test files for the guest's own text, by the beginnings of its files' paths in asm/x86_64/. The first that fits counts. */
const ASM: readonly (readonly [start: string, tests: readonly string[]])[] = [
  [
    'livepatch.s',
    [
      'test/livepatch/handler.test.ts',
      'test/livepatch/order.test.ts',
      'test/machine/gap.test.ts',
      'test/livepatch/born_and_gone.test.ts',
    ],
  ],
  [
    'ftrace_64.s',
    [
      'test/machine/gap.test.ts',
      'test/livepatch/born_and_gone.test.ts',
      'test/ftrace/bug.test.ts',
      'test/ftrace/register.test.ts',
      'test/tracing/trace_pipe.test.ts',
      'test/tracing/registers.test.ts',
      'test/machine/frame_pointer_image.test.ts',
      'test/machine/observed_edges.test.ts',
    ],
  ],
  ['shadow.s', ['test/livepatch/shadow.test.ts']],
  ['bundle.s', ['test/bundle/gate.test.ts']],
  ['klp_sched.s', ['test/livepatch']],
  ['fs/', ['test/fs']],
  ['lib.s', ['test/kernel/guest_lib.test.ts', 'test/fs']],
  ['list_debug.s', ['test/kernel/guest_lib.test.ts', 'test/machine/module_calls.test.ts']],
  ['kobject.s', ['test/machine/module_calls.test.ts', 'test/fs']],
  [
    '',
    [
      'test/sched',
      'test/machine/sleeping.test.ts',
      'test/livepatch/signals.test.ts',
      'test/livepatch/born_and_gone.test.ts',
      'test/machine/faults.test.ts',
      'test/mm',
    ],
  ],
];

/** Of all of asm/ those whose mistakes would be livepatch's. */
export const GUEST_FILES: readonly string[] = [
  'livepatch.s',
  'ftrace_64.s',
  'shadow.s',
  'bundle.s',
  'sched.s',
  'exit.s',
];

/** @param file from the root of the checkout. @returns what vitest is given: files, and folders */
export function testsOfGuest(file: string): readonly string[] {
  const below = file.replace('asm/x86_64/', '');
  return ASM.find(([start]) => below.startsWith(start))?.[1] ?? [];
}
