// A kernel is a value: machines whose kernels lay their structures out in another way live side by side.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { BUILT_IN, type KernelDescription, type Structs } from '../../src/kernel/description.ts';
import { Machine } from '../../src/machine/machine.ts';

const PATCH = readFileSync(join(import.meta.dirname, '../../fixtures/modules/klpdemo_patch_vmlinux.ko'));
const SMALL = { heap: 4 << 20, moduleArea: 2 << 20, maxTasks: 32, instructionNs: 20_000 };

type Fields = Readonly<Record<string, number>>;

/** A structure with each of two members in the place of the other. */
function swapped<S extends { readonly fields: Fields }>(
  struct: S,
  ...pairs: readonly (readonly [keyof S['fields'] & string, keyof S['fields'] & string])[]
): S {
  const fields: Record<string, number> = { ...struct.fields };
  for (const [a, b] of pairs) [fields[a], fields[b]] = [struct.fields[b], struct.fields[a]];
  return { ...struct, fields };
}

/**
 * Fields that no module of ours names lie elsewhere: those of a task behind what was its end, and members of a klp_func
 * and of structures that are private to the kernel each in the place of another.
 */
function shiftedStructs(): Structs {
  const { structs } = BUILT_IN;
  const { task_struct: task } = structs;
  const moved = [
    'patch_state',
    'on_cpu',
    'on_rq',
    'exit_code',
    'exit_state',
    'real_parent',
    'thread_sp',
  ] as const;
  const fields = { ...task.fields, ...Object.fromEntries(moved.map((name, i) => [name, task.size + 8 * i])) };
  return {
    ...structs,
    task_struct: { ...task, size: task.size + 8 * moved.length, fields },
    klp_func: swapped(structs.klp_func, ['node', 'stack_node'], ['patched', 'transition']),
    klp_ops: swapped(structs.klp_ops, ['node', 'func_stack']),
    ftrace_hash: swapped(structs.ftrace_hash, ['buckets', 'count']),
    ftrace_func_entry: swapped(structs.ftrace_func_entry, ['ip', 'direct']),
    proc_dir_entry: swapped(structs.proc_dir_entry, ['proc_ops', 'data'], ['in_use', 'refcnt']),
    proc_inode: swapped(structs.proc_inode, ['pde', 'op']),
    kernfs_node: swapped(structs.kernfs_node, ['parent', 'priv'], ['name', 'attr_open']),
    kernfs_open_file: swapped(structs.kernfs_open_file, ['kn', 'file']),
    fdtable: swapped(structs.fdtable, ['fd', 'open_fds']),
    filename: { ...structs.filename, size: 32, fields: { name: 0, iname: 32 } },
  };
}

/** Bits that no module of ours names are others. */
function shifted(): KernelDescription {
  const { constants } = BUILT_IN;
  return {
    ...BUILT_IN,
    release: '6.1.0-shifted',
    structs: shiftedStructs(),
    constants: {
      ...constants,
      TIF_PATCH_PENDING: constants.TIF_SIGPENDING,
      _TIF_PATCH_PENDING: constants._TIF_SIGPENDING,
      TIF_SIGPENDING: constants.TIF_PATCH_PENDING,
      _TIF_SIGPENDING: constants._TIF_PATCH_PENDING,
      PF_KTHREAD: constants.PF_WQ_WORKER,
      PF_WQ_WORKER: constants.PF_KTHREAD,
      FTRACE_OPS_FL_IPMODIFY: constants.FTRACE_OPS_FL_PERMANENT,
      FTRACE_OPS_FL_PERMANENT: constants.FTRACE_OPS_FL_IPMODIFY,
      TAINT_LIVEPATCH: constants.TAINT_AUX,
      TAINT_AUX: constants.TAINT_LIVEPATCH,
    },
  };
}

/** One machine, patched and back, with what it showed on the way. */
class Patched {
  readonly machine: Machine;
  constructor(machine: Machine) {
    this.machine = machine;
  }

  run(program: string, args: string[]): string {
    const task = this.machine.spawn(program, args);
    this.machine.runUntil(() => this.machine.exitStatus(task) !== undefined, 20e9);
    expect(this.machine.exitStatus(task)).toBe(0);
    return this.machine.stdout(task);
  }
  settled(): void {
    expect(this.machine.runUntil(() => !this.machine.inspect.livepatch.transitionPatch, 60e9)).toBe(true);
  }
  load(): string {
    const path = '/lib/modules/klpdemo_patch_vmlinux.ko';
    this.machine.addFile(path, new Uint8Array(PATCH));
    const task = this.machine.insmod(path);
    this.machine.runUntil(() => this.machine.exitStatus(task) !== undefined, 20e9);
    this.settled();
    return this.run('cat', ['/proc/cmdline']);
  }
  disable(): string {
    this.run('echo', ['0', '/sys/kernel/livepatch/klpdemo_patch_vmlinux/enabled']);
    this.settled();
    return this.run('cat', ['/proc/cmdline']);
  }
}

describe('two machines of different kernels in one process', () => {
  it('take the same livepatch, in turns, each with its own offsets', async () => {
    const other = shifted();
    const [a, b] = [await Machine.boot(SMALL), await Machine.boot(SMALL, other)].map((m) => new Patched(m));
    try {
      expect(a.load()).toBe('klpdemo: this command line was livepatched\n');
      expect(b.load()).toBe('klpdemo: this command line was livepatched\n');
      // What guest code wrote is where each description says, and not where the other one does.
      const stateOf = ({ machine }: Patched, { structs }: KernelDescription): number => {
        const init = machine.inspect.core.tasks.byPid(1)?.addr ?? 0n;
        return machine.inspect.core.mem.readS32(init + BigInt(structs.task_struct.fields.patch_state));
      };
      for (const { machine } of [a, b]) machine.spawn('sleep', ['1']);
      expect([stateOf(a, BUILT_IN), stateOf(b, other)]).toEqual([-1, -1]);
      expect(stateOf(b, BUILT_IN)).toBe(0);
      expect(b.run('cat', ['/proc/sys/kernel/osrelease'])).toBe('6.1.0-shifted\n');
      expect(a.run('cat', ['/proc/sys/kernel/osrelease'])).toBe(`${BUILT_IN.release}\n`);
      expect(a.disable()).toBe(b.disable());
      // Each says with its own bits what it is tainted with.
      expect([a, b].map((one) => one.run('cat', ['/sys/module/klpdemo_patch_vmlinux/taint']))).toEqual([
        'OEK\n',
        'OEK\n',
      ]);
      const livepatched = [a, b].map(
        ({ machine }) => machine.inspect.core.taints >> BUILT_IN.constants.TAINT_LIVEPATCH,
      );
      expect(livepatched.map((bits) => bits & 3)).toEqual([1, 2]);
      for (const { machine } of [a, b]) {
        expect(machine.dmesg().some((line) => line.includes('unpatching complete'))).toBe(true);
      }
    } finally {
      a.machine.close();
      b.machine.close();
    }
  });
});
