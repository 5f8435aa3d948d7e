// The fixture modules on the machine, held against what they did on a real kernel
// (fixtures/modules/observed-6.1.txt).

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { callInsn } from '../../src/arch/x86_64/insn.ts';
import type { HostGenerator } from '../../src/guest/hostcall.ts';
import { BUILT_IN } from '../../src/kernel/description.ts';
import type { KernelEvent } from '../../src/kernel/events.ts';
import type { TaskStruct } from '../../src/kernel/task_struct.ts';
import { UAPI } from '../../src/kernel/uapi.ts';
import { Machine, type MachineOptions } from '../../src/machine/machine.ts';

const LAYOUT = BUILT_IN.structs;

const FIXTURES = join(import.meta.dirname, '../../fixtures/modules');
const SECOND = 1e9;
const PARAMETERS = '/sys/module/klpdemo_target/parameters';

class Session {
  readonly machine: Machine;
  readonly events: KernelEvent[] = [];

  constructor(machine: Machine) {
    this.machine = machine;
    machine.events.subscribe((e) => this.events.push(e));
  }

  static async boot(options: MachineOptions = {}): Promise<Session> {
    return new Session(await Machine.boot(options));
  }

  /** Runs a task to its end. @returns its exit code. */
  wait(task: TaskStruct, ns = 60 * SECOND): number {
    const ended = this.machine.runUntil(() => this.machine.exitStatus(task) !== undefined, ns);
    if (!ended) throw new Error(`${task} has not ended: ${this.machine.stack(task).join(' ')}`);
    return this.machine.exitStatus(task) as number;
  }

  insmod(name: string, args = ''): number {
    const path = `/lib/modules/klpdemo_${name}.ko`;
    this.machine.addFile(path, new Uint8Array(readFileSync(join(FIXTURES, `klpdemo_${name}.ko`))));
    return this.wait(this.machine.insmod(path, args));
  }
  rmmod(name: string): number {
    return this.wait(this.machine.rmmod(`klpdemo_${name}`));
  }
  cat(path: string): string {
    const task = this.machine.spawn('cat', [path]);
    expect(this.wait(task)).toBe(0);
    return this.machine.stdout(task);
  }
  echo(text: string, path: string): number {
    return this.wait(this.machine.spawn('echo', [text, path]));
  }
  /** Runs a host function's generator from outside: locks are free, and others run where it waits. */
  drive<T>(generator: HostGenerator<T>): T {
    for (;;) {
      const step = generator.next(0n);
      if (step.done) return step.value;
      if ('relax' in step.value) this.machine.step();
      else if (this.machine.inspect.core.symbols.nameOf(step.value.call)?.startsWith('schedule_timeout'))
        this.runFor(4e6);
    }
  }
  enabled(name: string, value: string): number {
    return this.echo(value, `/sys/kernel/livepatch/klpdemo_${name}/enabled`);
  }
  settle(): void {
    const done = this.machine.runUntil(
      () => this.machine.inspect.livepatch.transitionPatch === undefined,
      60 * SECOND,
    );
    expect(done).toBe(true);
  }
  runFor(ns: number): void {
    this.machine.runFor(ns);
  }
  /** A module can go once the work that frees its patch has run. */
  rmmodFreed(name: string): void {
    this.machine.runUntil(() => this.machine.inspect.modules.find(`klpdemo_${name}`)?.refcount === 0, SECOND);
    expect(this.rmmod(name)).toBe(0);
  }
  bytesOf(symbol: string): string {
    return Buffer.from(
      this.machine.inspect.core.mem.readBytes(this.machine.inspect.core.symbols.require(symbol), 5),
    ).toString('hex');
  }
  of<T extends KernelEvent['type']>(type: T): Extract<KernelEvent, { type: T }>[] {
    return this.events.filter((e): e is Extract<KernelEvent, { type: T }> => e.type === type);
  }
  /** What the livepatch core and patch modules logged since the last time. */
  log(): string[] {
    const { printk } = this.machine.inspect.core;
    const lines = printk.since(this.#read).map((r) => r.text);
    this.#read = printk.nextSeq;
    return lines.filter(isLivepatchLine);
  }
  #read = 0;
}

const isLivepatchLine = (line: string): boolean => /^(livepatch|klpdemo_patch_both): /.test(line);

/** Log lines of each step of the real kernel's record. A failed insmod was tried twice there: once counts. */
function observed(): Map<string, string[]> {
  const steps = new Map<string, string[]>();
  for (const part of readFileSync(join(FIXTURES, 'observed-6.1.txt'), 'utf8')
    .split(/^#### /m)
    .slice(1)) {
    const [name, ...lines] = part.split('\n');
    const log = lines.map((l) => l.replace(/^\[ *\d+\.\d+\] /, '')).filter(isLivepatchLine);
    const half = log.length / 2;
    const twice = log.length > 0 && log.slice(0, half).join('\n') === log.slice(half).join('\n');
    steps.set(name, twice ? log.slice(0, half) : log);
  }
  return steps;
}

/** What was done at each step of the record, in its order. */
const STEPS: readonly [string, (s: Session) => void][] = [
  ['target', (s) => expect(s.insmod('target')).toBe(0)],
  [
    'patch target',
    (s) => {
      s.runFor(SECOND);
      expect(s.insmod('patch_target')).toBe(0);
      s.settle();
      expect(s.cat('/proc/klpdemo')).toMatch(/^klpdemo version 2 \(livepatched\)\n/);
    },
  ],
  [
    'off',
    (s) => {
      expect(s.enabled('patch_target', '0')).toBe(0);
      s.settle();
      s.rmmodFreed('patch_target');
      expect(s.cat('/proc/klpdemo')).toMatch(/^klpdemo version 1\n/);
    },
  ],
  [
    'vmlinux',
    (s) => {
      s.insmod('patch_vmlinux');
      s.settle();
      expect(s.cat('/proc/cmdline')).toBe('klpdemo: this command line was livepatched\n');
      s.enabled('patch_vmlinux', '0');
      s.settle();
      s.rmmodFreed('patch_vmlinux');
      expect(s.cat('/proc/cmdline')).not.toContain('livepatched');
    },
  ],
  [
    'both',
    (s) => {
      s.insmod('patch_both');
      s.settle();
      expect(s.cat('/proc/meminfo')).toContain('klpdemo: this meminfo was livepatched');
      expect(s.cat('/proc/klpdemo')).toMatch(/^klpdemo version 3 \(livepatched\)\n/);
    },
  ],
  [
    'both replaced by target',
    (s) => {
      s.insmod('patch_target');
      s.settle();
      expect(s.cat('/proc/klpdemo')).toMatch(/^klpdemo version 2 \(livepatched\)\n/);
      s.enabled('patch_target', '0');
      s.settle();
      s.rmmodFreed('patch_target');
      s.enabled('patch_both', '0');
      s.settle();
      s.rmmodFreed('patch_both');
      expect(s.cat('/proc/klpdemo')).toMatch(/^klpdemo version 1\n/);
    },
  ],
  ['both with pre_patch_ret', (s) => expect(s.insmod('patch_both', 'pre_patch_ret=-19')).toBe(19)],
  [
    'replace',
    (s) => {
      s.insmod('patch_target');
      s.settle();
      s.insmod('patch_both', 'replace=1');
      s.settle();
      s.rmmodFreed('patch_target');
      s.enabled('patch_both', '0');
      s.settle();
      s.rmmodFreed('patch_both');
    },
  ],
  [
    'sympos',
    (s) => {
      s.insmod('patch_sympos');
      s.settle();
      expect(s.cat('/proc/klpdemo')).toContain('twins 1 200\n');
      s.enabled('patch_sympos', '0');
      s.settle();
    },
  ],
  ['bad ambiguous', (s) => expect(s.insmod('bad_ambiguous')).toBe(UAPI.EINVAL)],
  ['bad notrace', (s) => expect(s.insmod('bad_notrace')).toBe(UAPI.EINVAL)],
  ['bad missing', (s) => expect(s.insmod('bad_missing')).toBe(UAPI.EINVAL)],
  [
    'block',
    (s) => {
      expect(s.echo('1', `${PARAMETERS}/block`)).toBe(0);
      s.runFor(SECOND / 2);
      s.insmod('patch_target');
      s.runFor(5 * SECOND);
      expect(s.cat('/sys/kernel/livepatch/klpdemo_patch_target/transition')).toBe('1\n');
      const [last] = s.of('blocked').slice(-1);
      expect(last).toMatchObject({ comm: 'klpdemo_worker', func: 'klpdemo_round' });
      expect(last.stack.map((l) => l.replace(/\/0x.*/, ''))).toEqual([
        '[<0>] klpdemo_wait+0x66',
        '[<0>] klpdemo_descend+0x19',
        '[<0>] klpdemo_descend+0x19',
        '[<0>] klpdemo_descend+0x19',
        '[<0>] klpdemo_stage_alloca+0x7a',
        '[<0>] klpdemo_stage_drap+0x9f',
        '[<0>] klpdemo_stage_aligned+0x5c',
        '[<0>] klpdemo_stage_locals+0x61',
        '[<0>] klpdemo_stage_saved+0x35',
        '[<0>] klpdemo_round+0x45',
        '[<0>] klpdemo_main+0x1e',
        expect.stringMatching(/kthread\+/),
        expect.stringMatching(/ret_from_fork\+/),
      ]);
    },
  ],
  [
    'unblock',
    (s) => {
      expect(s.echo('0', `${PARAMETERS}/block`)).toBe(0);
      s.settle();
      expect(s.cat('/proc/klpdemo')).toContain('mixed 0\n');
    },
  ],
  [
    'force',
    (s) => {
      s.enabled('patch_target', '0');
      s.settle();
      s.rmmodFreed('patch_target');
      s.echo('1', `${PARAMETERS}/block`);
      s.runFor(SECOND / 2);
      s.insmod('patch_target');
      expect(s.echo('1', '/sys/kernel/livepatch/klpdemo_patch_target/force')).toBe(0);
      s.settle();
      s.echo('0', `${PARAMETERS}/block`);
      s.runFor(SECOND);
      // What forcing gives up: the round that was under way began old and ended new.
      expect(s.cat('/proc/klpdemo')).toMatch(/^mixed [1-9]/m);
    },
  ],
  [
    'target going',
    (s) => {
      expect(s.rmmod('target')).toBe(0);
      expect(s.cat('/sys/kernel/livepatch/klpdemo_patch_target/klpdemo_target/patched')).toBe('0\n');
    },
  ],
  [
    'coming',
    (s) => {
      expect(s.insmod('target')).toBe(0);
      s.runFor(SECOND / 2);
      expect(s.cat('/proc/klpdemo')).toMatch(
        /^klpdemo version 2 \(livepatched\)\nrounds 0 [1-9]\d* 0\nworks 0 [1-9]/,
      );
    },
  ],
];

let session: Session;

afterEach(() => session.machine.close());

describe('the fixture modules', () => {
  it('make the machine say, step by step, what they made the real kernel say', async () => {
    const record = observed();
    session = await Session.boot();
    for (const [name, step] of STEPS) {
      step(session);
      expect([name, session.log()]).toEqual([name, record.get(name)]);
    }
    expect(session.of('oops')).toEqual([]);
  });
});

describe('a busy machine', () => {
  /** Few instructions a tick: much happens between two of them, and a second passes quickly. */
  const FAST = { instructionNs: 4_000 };

  it.each([1, 2, 3])(
    'never mixes old and new in a task, whichever way transitions turn (seed %i)',
    async (seed) => {
      session = await Session.boot({ ...FAST, seed, cpus: 3 });
      const { machine } = session;
      session.insmod('target', 'period_ms=20 hold_ms=10 work_ms=10 show_ms=10');
      for (const ms of ['0', '10']) machine.spawn('reader', ['/proc/klpdemo', ms]);
      machine.spawn('forker', ['30']);
      machine.spawn('spin');
      for (const patch of ['patch_target', 'patch_both']) {
        expect(session.insmod(patch)).toBe(0);
        session.settle();
        session.enabled(patch, '0');
        // Turned round, if it is not over yet.
        session.enabled(patch, '1');
        session.settle();
        if (machine.inspect.sysfs.lookup(`/kernel/livepatch/klpdemo_${patch}`)) {
          expect(session.enabled(patch, '0')).toBe(0);
          session.settle();
        }
      }
      const shown = session.cat('/proc/klpdemo');
      expect(shown).toMatch(/^klpdemo version 1\n(.*\n)*mixed \d+\n/);
      // Who meets the gap of docs/findings.md does mix them, as on a real kernel.
      const gaps = session.of('gap');
      expect(/mixed ([1-9]\d*)\n/.test(shown)).toBe(gaps.length > 0);
      expect(gaps.length).toBeLessThan(2);
      expect(session.of('oops')).toEqual([]);
      const ways = new Set(session.of('patch_state').map((e) => e.way));
      expect([...ways]).toEqual(expect.arrayContaining(['stack check', 'kernel exit']));
      expect(session.bytesOf('klpdemo_target:klpdemo_round')).toBe('0f1f440000');
    },
  );

  it('carries CPUs that run into a half-written site over it', async () => {
    for (let seed = 1; seed <= 20; seed++) {
      session = await Session.boot({ ...FAST, seed, cpus: 4 });
      for (let i = 0; i < 6; i++) session.machine.spawn('reader', ['/proc/cmdline', '0']);
      session.runFor(SECOND / 10);
      session.insmod('patch_vmlinux');
      session.settle();
      const hits = session.of('int3');
      expect(session.of('oops')).toEqual([]);
      if (hits.length > 0) {
        expect(hits[0].where).toMatch(/^cmdline_proc_show\+0x0/);
        expect(hits[0].emulated).toMatch(/^call 0xffffffffc0/);
        return;
      }
      session.machine.close();
    }
    throw new Error('no CPU ever hit an int3');
  });
});

describe('a site with a tracer beside the livepatch', () => {
  it('goes through ftrace_caller and the list of ops, and still gets the version of the task', async () => {
    session = await Session.boot();
    const { machine } = session;
    const { ftrace, core } = machine.inspect;
    session.insmod('patch_vmlinux');
    session.settle();
    const site = core.symbols.require('cmdline_proc_show');
    const own = session.bytesOf('cmdline_proc_show');
    const ops = ftrace.ops(core.slab.alloc(LAYOUT.ftrace_ops.size, 'tracer'));
    ops.func = core.symbols.require('ftrace_stub');
    session.drive(ftrace.setFilterIp(ops.addr, site, false));
    session.drive(ftrace.registerFunction(ops.addr));
    expect(machine.inspect.core.mem.readBytes(site, 5)).toEqual(
      callInsn(site, core.symbols.require('ftrace_caller')),
    );
    expect(session.cat('/proc/cmdline')).toBe('klpdemo: this command line was livepatched\n');
    session.drive(ftrace.unregisterFunction(ops.addr));
    expect(session.bytesOf('cmdline_proc_show')).toBe(own);
    expect(session.cat('/proc/cmdline')).toContain('livepatched');
  });
});

describe('a machine without reliable stack traces', () => {
  it('switches tasks at the kernel exit and in the idle loop, user tasks by a signal, and the rest by force', async () => {
    session = await Session.boot({ unwinder: 'none' });
    const { machine } = session;
    machine.spawn('sleep', ['1000000']);
    machine.spawn('sleep', ['50'], { comm: 'napper' });
    session.runFor(SECOND / 10);
    session.insmod('patch_vmlinux');
    expect(session.log().slice(0, 2)).toEqual([
      "livepatch: This architecture doesn't have support for the livepatch consistency model.",
      'livepatch: The livepatch transition may never complete.',
    ]);
    session.runFor(10 * SECOND);
    const switched = () => session.of('patch_state').map((e) => `${e.comm} ${e.way}`);
    expect(switched()).toEqual(expect.arrayContaining(['napper kernel exit', 'swapper/0 idle loop']));
    expect(switched()).not.toContain('sleep kernel exit');
    session.runFor(8 * SECOND);
    expect(session.log()).toContain('livepatch: signaling remaining tasks');
    expect(switched()).toEqual(expect.arrayContaining(['sleep kernel exit', 'init kernel exit']));
    expect(machine.inspect.livepatch.transitionPatch).toBeDefined();
    session.echo('1', '/sys/kernel/livepatch/klpdemo_patch_vmlinux/force');
    session.settle();
    expect(switched()).toContain('kthreadd force');
    expect(session.cat('/proc/cmdline')).toContain('livepatched');
  });
});
