// A kernel is a value: machines whose kernels lay their structures out in another way live side by side.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { BUILT_IN, type KernelDescription, type Structs } from '../../src/kernel/description.ts';
import { Machine } from '../../src/machine/machine.ts';

const PATCH = readFileSync(join(import.meta.dirname, '../../fixtures/modules/klpdemo_patch_vmlinux.ko'));
const SMALL = { heap: 4 << 20, moduleArea: 2 << 20, maxTasks: 32, instructionNs: 20_000 };

/**
 * Fields that no module of ours names lie elsewhere: those of a task behind what was its end, and two lists and two
 * flags of a klp_func each in the place of the other.
 */
function shifted(): KernelDescription {
  const { task_struct: task, klp_func: func } = BUILT_IN.structs;
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
  const structs: Structs = {
    ...BUILT_IN.structs,
    task_struct: { ...task, size: task.size + 8 * moved.length, fields },
    klp_func: {
      ...func,
      fields: {
        ...func.fields,
        node: func.fields.stack_node,
        stack_node: func.fields.node,
        patched: func.fields.transition,
        transition: func.fields.patched,
      },
    },
  };
  return { ...BUILT_IN, release: '6.1.0-shifted', structs };
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
      for (const { machine } of [a, b]) {
        expect(machine.dmesg().some((line) => line.includes('unpatching complete'))).toBe(true);
      }
    } finally {
      a.machine.close();
      b.machine.close();
    }
  });
});
