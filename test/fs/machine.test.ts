// The file layer on a whole machine: other tasks, modules, time; and every instruction of its paths unwound.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { assembleSnippet } from '../../src/arch/x86_64/asm/assembler.ts';
import { type Addr, MODULES_VADDR } from '../../src/guest/addr.ts';
import { PROT_EXEC, PROT_READ } from '../../src/guest/memory.ts';
import { BUILT_IN } from '../../src/kernel/description.ts';
import { Machine } from '../../src/machine/machine.ts';

const CONSTANTS = BUILT_IN.constants;

const MODULES = join(import.meta.dirname, '../../fixtures/modules');
const MS = 1e6;

let machine: Machine;

beforeAll(async () => {
  machine = await Machine.boot();
  machine.addFile('/target.ko', readFileSync(join(MODULES, 'klpdemo_target.ko')));
  machine.addFile('/etc/motd', new TextEncoder().encode('hello\n'));
});
afterAll(() => machine.close());

function output(program: string, ...args: string[]): string {
  const task = machine.spawn(program, args);
  machine.runUntil(() => machine.exitStatus(task) !== undefined, 5000 * MS);
  return machine.stdout(task);
}
function status(program: string, ...args: string[]): number | undefined {
  const task = machine.spawn(program, args);
  machine.runUntil(() => machine.exitStatus(task) !== undefined, 5000 * MS);
  return machine.exitStatus(task);
}

describe('user tasks', () => {
  it('read /proc, /sys and files', () => {
    expect(output('cat', '/proc/cmdline')).toBe(`${machine.options.cmdline}\n`);
    expect(output('cat', '/etc/motd')).toBe('hello\n');
    expect(status('cat', '/nothing')).toBe(2);
    expect(output('cat', '/proc/self/status')).toMatch(/^Name:\tcat\n/);
  });

  it('see themselves read their own stack as on a real kernel', () => {
    const functions = output('cat', '/proc/self/stack')
      .split('\n')
      .filter(Boolean)
      .map((line) => /^\[<0>\] (\w+)\+0x[0-9a-f]+\/0x[0-9a-f]+$/.exec(line)?.[1]);
    expect(functions).toEqual([
      'proc_pid_stack',
      'proc_single_show',
      'seq_read_iter',
      'seq_read',
      'vfs_read',
      'ksys_read',
      'do_syscall_64',
      'entry_SYSCALL_64_after_hwframe',
    ]);
  });

  it('leave nothing in the heap when they have ended', () => {
    output('cat', '/proc/meminfo');
    const used = machine.inspect.core.slab.used();
    for (const path of ['/proc/meminfo', '/proc/kallsyms', '/sys/kernel', '/nothing']) output('cat', path);
    expect(machine.inspect.core.slab.used()).toBe(used);
  });
});

describe('the unwinder', () => {
  it.each([
    '/proc/cmdline',
    '/proc/meminfo',
    '/proc/version',
    '/proc/modules',
    '/proc/self/comm',
    '/proc/sys/kernel/tainted',
  ])('agrees with the shadow stack at every instruction of a read of %s', (path) => {
    const task = machine.spawn('cat', [path]);
    const entries = new Uint32Array(100);
    const seen = new Set<string>();
    let unreliable = 0;
    const before = machine.inspect.traces.compared;
    for (let steps = 0; machine.exitStatus(task) === undefined && steps < 400_000; steps++) {
      const cpu = machine.inspect.smp.cpus.find(
        (c) => machine.inspect.core.current(c.id) === task && !c.halted,
      );
      if (!cpu) {
        const next = machine.inspect.smp.next();
        if (next) machine.inspect.loop.runCpu(next, 10);
        else machine.step();
        continue;
      }
      machine.inspect.loop.runCpu(cpu, 1);
      if (cpu.context.userMode || machine.inspect.core.current(cpu.id) !== task) continue;
      const name = machine.inspect.core.symbols.nameOf(cpu.pc) ?? '?';
      if (!IN_FS.test(name)) continue;
      seen.add(name);
      const call = { cpu: cpu.id, sp: cpu.sp, args: [], caller: 0n };
      if (machine.inspect.traces.saveReliable(task, entries, call) < 0) unreliable++;
    }
    expect(machine.exitStatus(task)).toBe(0);
    expect(unreliable).toBe(0);
    expect(seen).toContain('vfs_read');
    expect(machine.inspect.traces.compared - before).toBeGreaterThan(500);
  });
});

/** Functions of asm/fs and asm/x86_64/lib.s on the way of a read. */
const IN_FS =
  /^(__x64_sys_(open|read|write|close)|do_sys_open|do_filp_open|do_dentry_open|path_openat|getname|fd_install|close_fd|fput|__fput|filp_close|__fdget|ksys_|vfs_|seq_|single_|traverse|proc_|cmdline_|meminfo_|version_|show_val|_copy_|iov_iter|strlen|rw_verify|tty_|fault_in|unuse_pde|get_unused)/;

describe('an entry of a module', () => {
  it('is there while the module is, and its removal waits for who is in it', () => {
    expect(status('insmod', '/target.ko')).toBe(0);
    expect(output('cat', '/proc/klpdemo')).not.toBe('');
    expect(output('cat', '/proc/modules')).toMatch(/^klpdemo_target \d+ 0 - Live 0x[0-9a-f]{16} \(OE\)\n$/);
    const readers = Array.from({ length: 4 }, () => machine.spawn('reader', ['/proc/klpdemo', '0', '200']));
    machine.runFor(20 * MS);
    expect(status('rmmod', 'klpdemo_target')).toBe(0);
    machine.runUntil(() => readers.every((r) => machine.exitStatus(r) !== undefined), 20_000 * MS);
    for (const reader of readers) expect(machine.exitStatus(reader)).toBe(0);
    expect(status('cat', '/proc/klpdemo')).toBe(2);
    expect(machine.inspect.core.printk.records.filter((r) => r.level <= 3)).toEqual([]);
  });
});

/** Machine code of a test, at the end of the module area. */
let nextCode = MODULES_VADDR + 0x400_0000n;
async function addCode(text: string, symbols: Record<string, Addr> = {}): Promise<Addr> {
  const { core } = machine.inspect;
  const addr = nextCode;
  nextCode += 0x1000n;
  const used = text.matchAll(/\b(call|offset) (\w+)/g);
  const names = [...used].map((m) => m[2]);
  const known = new Map(names.map((n) => [n, symbols[n] ?? core.symbols.require(n)]));
  core.mem.map(addr, 0x1000, PROT_READ | PROT_EXEC);
  core.mem.pokeText(addr, await assembleSnippet(text, addr, known));
  return addr;
}

describe('removing an entry while a task sleeps in its show function', () => {
  it('waits until the task has left, and lets nobody in meanwhile', async () => {
    const { core, kthreads } = machine.inspect;
    const show = await addCode('push rbx\nmov edi, 100\ncall msleep\nxor eax, eax\npop rbx\nret');
    const name = core.slab.alloc(8, 'test');
    core.mem.writeCString(name, 'slow');
    const make = await addCode(
      'sub rsp, 8\nmov rdi, [rdi]\nxor esi, esi\nxor edx, edx\nmov rcx, offset show\nxor r8d, r8d\n' +
        'call proc_create_single_data\nxor eax, eax\nadd rsp, 8\nret',
      { show },
    );
    const remove = await addCode(
      'sub rsp, 8\nmov rdi, [rdi]\nxor esi, esi\ncall remove_proc_entry\nxor eax, eax\nadd rsp, 8\nret',
    );
    const data = core.slab.alloc(8, 'test');
    core.mem.writeU64(data, name);
    const start = (fn: Addr, comm: string) => {
      const task = kthreads.create(fn, data, comm);
      machine.inspect.sched.wakeUpProcess(task);
      return task;
    };
    start(make, 'make');
    machine.runUntil(() => machine.inspect.fs.stat('/proc/slow') !== undefined, 1000 * MS);
    const reader = machine.spawn('cat', ['/proc/slow']);
    machine.runUntil(() => machine.stack(reader)[0]?.includes('msleep') === true, 1000 * MS);
    const remover = start(remove, 'remove');
    machine.runFor(20 * MS);
    // wait_for_completion() is one of the scheduler's functions, which the file leaves out.
    expect(machine.stack(remover)[0]).toMatch(/^\[<0>\] remove_proc_entry\+/);
    expect(remover.state).toBe(CONSTANTS.TASK_UNINTERRUPTIBLE);
    expect(status('cat', '/proc/slow')).toBe(2);
    expect(machine.exitStatus(reader)).toBeUndefined();
    machine.runUntil(() => machine.exitStatus(reader) !== undefined, 1000 * MS);
    expect(machine.exitStatus(reader)).toBe(0);
    machine.runFor(100 * MS);
    expect(core.tasks.byAddr(remover.addr)).toBeUndefined();
    expect(core.slab.live().filter((a) => a.owner.includes('/proc entry slow'))).toEqual([]);
  });
});
