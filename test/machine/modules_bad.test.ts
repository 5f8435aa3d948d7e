// Modules that no kernel takes: what insmod gets, what the log says, and that nothing else is changed.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { parseElf } from '../../src/elf/elf_object.ts';
import type { SysfsDir } from '../../src/kernel/sysfs.ts';
import type { TaskStruct } from '../../src/kernel/task_struct.ts';
import { Machine, type MachineOptions } from '../../src/machine/machine.ts';
import { MODULES, readObserved, type Step, withoutTime } from './observed.ts';

const SECOND = 1e9;
const first = readObserved('observed-6.1.txt');
const second = readObserved('observed-faults-6.1.txt');
const ko = (name: string) => new Uint8Array(readFileSync(join(MODULES, `${name}.ko`)));

let machine: Machine;
afterEach(() => machine?.close());

async function boot(options: MachineOptions = {}): Promise<void> {
  machine = await Machine.boot(options);
}

function wait(task: TaskStruct): number | undefined {
  machine.runUntil(() => machine.exitStatus(task) !== undefined, SECOND);
  return machine.exitStatus(task);
}

function load(bytes: Uint8Array, params = ''): { status: number | undefined; log: string[] } {
  const from = machine.dmesg().length;
  machine.addFile('/module.ko', bytes);
  const status = wait(machine.insmod('/module.ko', params));
  machine.runFor(10e6);
  return { status, log: machine.dmesg().slice(from).map(withoutTime) };
}

/** What a load that fails must leave as it was. Taints stay, as in the kernel. */
function state(): unknown {
  const { core, modules, ftrace, livepatch, sysfs } = machine.inspect;
  const text = (addr: bigint, size: number) => Buffer.from(core.mem.readBytes(addr, size)).toString('base64');
  const symbols = [...core.symbols.all()];
  const start = core.symbols.require('__sched_text_start') & ~0xfffffn;
  return {
    modules: modules.loader.modules.all.map((m) => [m.name, m.state, m.refcnt, m.addr]),
    heap: core.slab.live().map(({ addr, size, owner }) => `${addr} ${size} ${owner}`),
    symbols: symbols.map((s) => `${s.addr} ${s.name} ${s.module}`),
    text: [
      text(start, 0x4000),
      ...modules.loader.modules.all.map((m) => text(m.base('core'), m.textSize('core'))),
    ],
    ftrace: [undefined, ...modules.loader.modules.all.map((m) => m.name)].map((name) =>
      ftrace.records.group(name).map((r) => `${r.ip} ${r.flags} ${r.target}`),
    ),
    patches: livepatch.patches().length,
    transition: livepatch.transitionPatch,
    sysfs: paths(sysfs.lookup('/') as SysfsDir),
    tasks: [...core.tasks.processes()].map((task) => `${task.pid} ${task.comm} ${task.patchState}`),
    preempt: machine.inspect.smp.cpus.map((cpu) => core.percpu.readU32('__preempt_count', cpu.id) & 0xffffff),
  };
}

function paths(dir: SysfsDir): string[] {
  return dir
    .entries()
    .flatMap((node) => (node.kind === 'directory' ? [node.path, ...paths(node)] : [node.path]));
}

/** busybox tries again when a load has failed: the log has everything twice, but what is said only once. */
function twice(step: Step | undefined): { log: readonly string[]; rc: number | undefined; attempts: number } {
  const log = step?.log ?? [];
  const attempts = new Set(log).size < log.length ? 2 : 1;
  return { log, rc: step?.rc, attempts };
}

function expectStep(step: Step | undefined, bytes: Uint8Array, params = ''): void {
  const real = twice(step);
  expect(real.rc).toBeGreaterThan(0);
  const log: string[] = [];
  for (let i = 0; i < real.attempts; i++) {
    const got = load(bytes, params);
    expect(got.status).toBe(real.rc);
    log.push(...got.log);
  }
  expect(log).toEqual(real.log);
}

function damaged(name: string, change: (bytes: Uint8Array, view: DataView) => void): Uint8Array {
  const bytes = ko(name);
  change(bytes, new DataView(bytes.buffer));
  return bytes;
}

/** Offset in the file of a text that it holds. */
function offsetOf(bytes: Uint8Array, text: string): number {
  const at = Buffer.from(bytes).indexOf(text, 0, 'latin1');
  if (at < 0) throw new Error(`no ${text} in the module`);
  return at;
}

function sectionOffset(bytes: Uint8Array, name: string): number {
  const section = parseElf(bytes, 'module', X86_64.elf).sections.find((s) => s.name === name);
  if (!section) throw new Error(`no ${name}`);
  return section.offset;
}

const TARGET = 'klpdemo_target';
const DAMAGED: readonly (readonly [string, () => Uint8Array])[] = [
  ['cut_sections', () => ko(TARGET).subarray(0, 3000)],
  ['cut_header', () => ko(TARGET).subarray(0, 30)],
  ['text', () => new TextEncoder().encode('hello\n')],
  ['machine', () => damaged(TARGET, (_, view) => view.setUint16(18, 183, true))],
  ['type', () => damaged(TARGET, (_, view) => view.setUint16(16, 3, true))],
  ['shentsize', () => damaged(TARGET, (_, view) => view.setUint16(58, 40, true))],
  [
    'no_this_module',
    () => damaged(TARGET, (bytes) => bytes.set([0x78], offsetOf(bytes, '.gnu.linkonce.this_module') + 1)),
  ],
  [
    'vermagic',
    () => damaged(TARGET, (bytes) => bytes.set([0x55, 0x50, 0x20], offsetOf(bytes, '-amd64 SMP') + 7)),
  ],
  [
    'reloc',
    () => damaged(TARGET, (bytes, view) => view.setUint32(sectionOffset(bytes, '.rela.text') + 8, 37, true)),
  ],
];

describe('a module area that is full', () => {
  it('refuses a module in the words of vmalloc, and takes it once another has gone', async () => {
    await boot({ moduleArea: 36 << 10 });
    machine.addFile('/first.ko', ko('klpdemo_percpu'));
    expect(wait(machine.insmod('/first.ko'))).toBe(0);
    const before = state();
    const { status, log } = load(ko('klpbundle_core'));
    expect(status).toBe(12);
    expect(log).toEqual([
      'vmap allocation for size 16384 failed: use vmalloc=<size> to increase size',
      'insmod: vmalloc error: size 12288, vm_struct allocation failed, mode:0xcc0(GFP_KERNEL), nodemask=(null),cpuset=/,mems_allowed=0',
    ]);
    expect(state()).toEqual(before);
    expect(wait(machine.rmmod('klpdemo_percpu'))).toBe(0);
    expect(load(ko('klpbundle_core')).status).toBe(0);
  });
});

describe('a damaged module', () => {
  it.each(DAMAGED)('(%s) is refused as on the real kernel, and changes nothing', async (name, make) => {
    await boot();
    load(ko('klpdemo_fault')); // so that the taints are there
    const before = state();
    expectStep(second.get(`module ${name}`), make());
    expect(state()).toEqual(before);
    expect(load(ko(TARGET))).toEqual({ status: 0, log: ['klpdemo_target: loaded'] });
  });

  it('cut anywhere is refused, and changes nothing', async () => {
    await boot();
    load(ko('klpdemo_fault'));
    const before = state();
    const whole = ko('klpdemo_bad_init');
    for (let size = 0; size < whole.length; size += 311) expect(load(whole.subarray(0, size)).status).toBe(8);
    expect(state()).toEqual(before);
  });
});

describe('a module with a parameter', () => {
  it('that has a bad value is refused as on the real kernel', async () => {
    await boot();
    load(ko('klpdemo_fault'));
    const before = state();
    expectStep(second.get('module bad value'), ko(TARGET), 'depth=deep');
    expect(state()).toEqual(before);
  });

  it('that it does not have is loaded all the same', async () => {
    await boot();
    load(ko(TARGET));
    const step = second.get('module unknown parameter');
    expect(load(ko('klpdemo_fault'), 'what=none colour=red')).toEqual({ status: 0, log: step?.log });
  });
});

describe('a livepatch or a module that cannot work', () => {
  it.each(['ambiguous', 'notrace', 'missing', 'import', 'init'])(
    '(%s) is refused as on the real kernel, and changes nothing',
    async (name) => {
      await boot();
      load(ko(TARGET));
      load(ko('klpdemo_bad_missing')); // so that the taint of livepatches is there
      const before = state();
      expectStep(first.get(`bad ${name}`), ko(`klpdemo_bad_${name}`));
      expect(state()).toEqual(before);
      expect(load(ko('klpdemo_patch_target')).status).toBe(0);
    },
  );

  it('(a function without room for an fentry site) is refused as on the real kernel', async () => {
    await boot();
    load(ko('klpdemo_fault'));
    expectStep(second.get('module small'), ko('klpdemo_bad_small'));
    const before = state();
    load(ko('klpdemo_bad_small'));
    expect(state()).toEqual(before);
  });
});

describe('a module whose fentry site is no call', () => {
  it('is loaded, but nothing can be patched from then on, as on the real kernel', async () => {
    await boot();
    const { log, status } = load(
      damaged(TARGET, (bytes, view) => view.setUint8(sectionOffset(bytes, '.rela__mcount_loc') + 16, 1)),
    );
    expect(status).toBe(0);
    const real = second.get('module site')?.log ?? [];
    // The warning that comes with it is of kernel functions that the image does not have.
    const report = real.slice(real.findIndex((line) => line.includes('[ ftrace bug ]'))).slice(0, 8);
    const words = (lines: readonly string[]) =>
      lines.map((line) => line.replace(/(actual|expected): .*/, '$1'));
    const at = log.findIndex((line) => line.includes('[ ftrace bug ]'));
    expect(words(log.slice(at, at + 8))).toEqual(words(report));
    const patch = load(ko('klpdemo_patch_target'));
    expect(patch.status).toBe(second.get('module site')?.rc);
    expect(patch.log).toEqual(real.slice(-11).slice(0, 6));
  });
});

describe('the command line', () => {
  it('names modules that are not loaded', async () => {
    await boot({ cmdline: 'quiet module_blacklist=other,klpdemo_target' });
    expect(load(ko(TARGET))).toEqual({ status: 1, log: ['Module klpdemo_target is blacklisted'] });
    expect(load(ko('klpdemo_fault')).status).toBe(0);
  });

  it('can ask for signatures, which nobody makes here', async () => {
    await boot({ cmdline: 'quiet module.sig_enforce' });
    const { status, log } = load(ko(TARGET));
    expect(status).toBe(129); // EKEYREJECTED
    expect(log).toEqual(['Loading of unsigned module is rejected']);
  });
});

describe('a task in the init of a module', () => {
  it('has the stack that it has on the real kernel', async () => {
    await boot();
    machine.addFile('/fault.ko', ko('klpdemo_fault'));
    const task = machine.insmod('/fault.ko', 'what=sleep');
    machine.runFor(SECOND);
    const frames = machine.stack(task).map((line) => /^\[<0>\] (\w+)/.exec(line)?.[1]);
    const trace = second.get('sleep init')?.log.filter((line) => /^ \w/.test(line)) ?? [];
    const real = trace
      .map((line) => /^ (\w+)\+/.exec(line)?.[1])
      .filter((name) => !/schedule/.test(name ?? ''));
    expect(frames).toEqual(real);
    expect(frames.slice(-5)).toEqual([
      'do_one_initcall',
      'do_init_module',
      '__do_sys_finit_module',
      'do_syscall_64',
      'entry_SYSCALL_64_after_hwframe',
    ]);
  });
});
