import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { MODULES } from '../module/harness.ts';
// Modules that user space pauses and brings to life, by programs that do it right, do it wrong, or die.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { assembleSnippet } from '../../src/arch/x86_64/asm/assembler.ts';
import { PAGE_SIZE, PROT_EXEC, PROT_READ } from '../../src/guest/memory.ts';
import type { TaskStruct } from '../../src/kernel/task_struct.ts';
import { UAPI } from '../../src/kernel/uapi.ts';
import { rest } from './state.ts';
import { bundleOf, ko, SECOND, World } from './world.ts';

const V1 = ['p1_vmlinux', 'p1_core', 'p1_mid'];
const SIGKILL = 9;

const TEXT = 0x700000n;
/** Loads argv[1] paused, and 200 ms later unpauses it in two tasks, the child 10 ms after the parent; exits with the sum of errnos. */
const UNPAUSE_TWICE = [
  'mov rdi, [rsp + 16]; xor esi, esi; xor edx, edx; mov eax, 2; syscall',
  'sub rsp, 16; mov qword ptr [rsp], 0',
  'mov edi, eax; mov rsi, rsp; mov edx, 0x100; mov eax, 313; syscall; mov r12d, eax',
  'mov qword ptr [rsp + 8], 200000000; mov rdi, rsp; xor esi, esi; mov eax, 35; syscall',
  'mov eax, 57; syscall; mov ebx, eax; test ebx, ebx; jz 1f',
  'mov edi, r12d; mov eax, 451; syscall; mov ebp, eax; neg ebp',
  'mov edi, ebx; mov rsi, rsp; xor edx, edx; xor r10d, r10d; mov eax, 61; syscall',
  'movzx edi, byte ptr [rsp + 1]; add edi, ebp; mov eax, 231; syscall',
  '1: mov qword ptr [rsp + 8], 10000000; mov rdi, rsp; xor esi, esi; mov eax, 35; syscall',
  'mov edi, r12d; mov eax, 451; syscall; mov edi, eax; neg edi; mov eax, 231; syscall',
].join('\n');

let w: World;
beforeEach(async () => {
  w = await World.boot();
});
afterEach(() => w.machine.close());

function path(name: string): string {
  w.machine.addFile(`/lib/modules/${name}.ko`, ko(name));
  return `/lib/modules/${name}.ko`;
}
function modprobe(name: string, members: readonly string[] = [], params = ''): number | undefined {
  return w.wait(w.machine.spawn('modprobe_paused', [path(name), params, ...members.map(path)]));
}
/** A tool that has stopped with the target paused and the members loaded. */
function hold(name: string, members: readonly string[] = []): TaskStruct {
  const task = w.machine.spawn('hold_paused', [path(name), '', ...members.map(path)]);
  expect(w.machine.runUntil(() => w.machine.inspect.traces.wchan(task) !== undefined, SECOND)).toBe(true);
  w.machine.runFor(SECOND / 10);
  expect(w.machine.exitStatus(task)).toBeUndefined();
  return task;
}
function kill(task: TaskStruct): void {
  w.machine.inspect.exit.sendSignal(task, SIGKILL);
  w.wait(task);
}
function executable(name: string): boolean {
  const base = w.machine.inspect.modules.find(`klpbundle_${name}`)?.base('core') ?? 0n;
  return ((w.machine.inspect.core.mem.protectionOf(base) ?? 0) & PROT_EXEC) !== 0;
}
function enable(name: string, members: readonly string[], options = {}): void {
  expect(w.enable(bundleOf(name, members, options))).toBe(0);
  w.settled();
}

describe('bundle.md, the variation: paused from user space', () => {
  it('brings a target to life when user space has loaded its patch modules', () => {
    enable('v1', V1);
    expect(modprobe('core', ['p1_core'])).toBe(0);
    expect(w.has('klpbundle_core: init says 100')).toBe(true);
    expect(w.says('core')).toBe(100);
    expect(w.rmmod('core')).toBe(0);
    expect(w.modules()).toEqual(['klpbundle_p1_vmlinux']);
    expect(w.insmod('core')).toBe(0);
    expect(w.says('core')).toBe(100);
  });

  it('refuses to unpause a target whose member is not live, names the member, and keeps nothing', () => {
    enable('v1', V1);
    const before = rest(w);
    expect(modprobe('core')).toBe(UAPI.EAGAIN);
    expect(w.has("module 'klpbundle_core' is not unpaused: member 'klpbundle_p1_core' of bundle 'v1'")).toBe(
      true,
    );
    expect(w.has('klpbundle_core: init says')).toBe(false);
    expect(rest(w)).toEqual(before);
  });

  it('shows the module as Paused, with text that nothing can execute', () => {
    enable('v1', V1);
    const tool = hold('core', ['p1_core']);
    expect(w.cat('/proc/modules')).toMatch(/^klpbundle_core \d+ \d+ \S+ Paused 0x[0-9a-f]{16} \(OE\+\)$/m);
    expect(w.cat('/proc/modules')).toMatch(/^klpbundle_p1_core .* Live /m);
    expect(executable('core')).toBe(false);
    kill(tool);
    expect(modprobe('core', ['p1_core'])).toBe(0);
    expect(w.cat('/proc/modules')).toMatch(/^klpbundle_core .* Live /m);
    expect(executable('core')).toBe(true);
  });

  it.each([
    ['with nothing but the target', []],
    ['with the patch module loaded', ['p1_core']],
  ])('leaves nothing of a tool that dies %s', (_, members) => {
    enable('v1', V1);
    const before = rest(w);
    const tool = hold('core', members);
    expect(w.modules()).toContain('klpbundle_core');
    kill(tool);
    expect(w.has('klpbundle_core: init says')).toBe(false);
    expect(rest(w)).toEqual(before);
    expect(w.wait(w.machine.spawn('load_paused', [path('core')]))).toBe(0);
    expect(rest(w)).toEqual(before);
  });

  it('leaves nothing of a tool that dies while a transition keeps it waiting', () => {
    enable('v1', V1);
    w.insmod('asker'); // sleeps in the function that is patched next
    const before = w.modules();
    const tool = w.machine.spawn('modprobe_paused', [path('core'), '', path('p1_core')]);
    const { modules } = w.machine.inspect;
    // In small steps, so that it is still in the load of the patch module, however long what comes before takes. The
    // transition waits for that, and the tool for the transition with its next step.
    for (let step = 0; step < 1000 && !modules.find('klpbundle_p1_core'); step++) w.machine.runFor(2e4);
    expect(w.machine.inspect.modules.find('klpbundle_p1_core')).toBeDefined();
    expect(w.wait(w.startEnable(bundleOf('slow', ['p1_asker'])))).toBe(0);
    expect(w.modules()).toContain('klpbundle_core');
    const gate = w.machine.inspect.bundles?.gate;
    expect(w.machine.runUntil(() => gate?.why(tool) !== undefined, SECOND)).toBe(true);
    expect(gate?.why(tool)).toBe("waits on the gate for the transition of 'slow'");
    kill(tool);
    expect(w.machine.inspect.livepatch.transitionPatch?.name).toBe('slow');
    expect(w.modules()).toEqual([...before, 'klpbundle_p1_asker'].toSorted());
    expect(w.settled()).toBe(true);
    rest(w);
    expect(modprobe('core', ['p1_core'])).toBe(0);
    expect(w.says('core')).toBe(100);
  });

  it('leaves nothing of a tool that dies in a transition, with the patch module in force', () => {
    enable('v1', V1);
    const tool = hold('core', ['p1_core']);
    w.insmod('asker');
    expect(w.enable(bundleOf('slow', ['p1_asker']))).toBe(0);
    expect(w.machine.inspect.livepatch.transitionPatch?.name).toBe('slow');
    kill(tool);
    expect(w.machine.inspect.livepatch.transitionPatch?.name).toBe('slow');
    expect(w.modules()).toEqual(['asker', 'p1_asker', 'p1_vmlinux'].map((name) => `klpbundle_${name}`));
    expect(w.settled()).toBe(true);
    rest(w);
    expect(modprobe('core', ['p1_core'])).toBe(0);
    expect(w.says('core')).toBe(100);
  });

  it('lets patch modules join in the order of their bundles only', () => {
    enable('v1', ['p1_core']);
    enable('v2', ['p2_core'], { version: '2' });
    expect(modprobe('core', ['p2_core', 'p1_core'])).toBe(UAPI.EAGAIN);
    expect(
      w.has(
        "member 'klpbundle_p1_core' of bundle 'v1' comes before member 'klpbundle_p2_core' of bundle 'v2'",
      ),
    ).toBe(true);
    expect(w.modules()).toEqual([]);
    expect(modprobe('core', ['p1_core'])).toBe(UAPI.EAGAIN);
    expect(modprobe('core', ['p1_core', 'p2_core'])).toBe(0);
    expect(w.has('klpbundle_core: init says 200')).toBe(true);
    w.write('v2', 'enabled', '0');
    w.settled();
    expect(w.says('core')).toBe(100);
  });

  it('takes no other file for a member, and no patch module that is none', () => {
    enable('v1', V1);
    const before = rest(w);
    w.machine.addFile('/lib/modules/other.ko', new Uint8Array([...ko('p1_core'), 0]));
    const other = [path('core'), '', '/lib/modules/other.ko'];
    expect(w.wait(w.machine.spawn('modprobe_paused', other))).toBe(UAPI.EBADMSG);
    expect(w.has("the file of member 'klpbundle_p1_core' of bundle 'v1' is not the one")).toBe(true);
    expect(modprobe('core', ['p2_core'])).toBe(UAPI.EINVAL);
    expect(
      w.has("'klpbundle_p2_core' is no member of an enabled bundle for 'klpbundle_core', which is paused"),
    ).toBe(true);
    expect(rest(w)).toEqual(before);
  });

  it('counts a target as away while it is paused: bundles come and go meanwhile', () => {
    const tool = hold('core');
    enable('v1', V1);
    expect(w.cat('/sys/kernel/livepatch/v1/klpbundle_core/blob')).not.toBe('');
    kill(tool);
    const second = hold('core', ['p1_core']);
    w.write('v1', 'enabled', '0');
    w.settled();
    expect(w.freed('v1')).toBe(true);
    expect(w.modules()).toEqual(['klpbundle_core']);
    kill(second);
    expect(w.modules()).toEqual([]);
    expect(w.insmod('core')).toBe(0);
    expect(w.has('klpbundle_core: init says 1')).toBe(true);
  });

  it('gives parameters to the target; when its init fails the member goes back to its blob', () => {
    enable('v1', V1);
    const before = rest(w);
    expect(modprobe('core', ['p1_core'], 'init_ret=-19')).toBe(UAPI.ENODEV);
    expect(w.has('klpbundle_core: init says 100')).toBe(true);
    expect(rest(w)).toEqual(before);
  });

  it.each([
    ['is in its init', false],
    ['comes to the gate before it', true],
  ])(
    'comes to life once: with the handle, another task has nothing to unpause while one %s',
    async (_, gated) => {
      const { core, fork, sched, fs, bundles } = w.machine.inspect;
      core.mem.map(TEXT, PAGE_SIZE, PROT_READ | PROT_EXEC);
      core.mem.pokeText(TEXT, await assembleSnippet(UNPAUSE_TWICE, TEXT));
      w.machine.addFile('/waits.ko', ko('waits'));
      w.machine.addFile('/lib/modules/klpbundle_core.ko', ko('core'));
      w.insmod('asker'); // sleeps in the function that is patched next
      const argv = ['two', '/waits.ko'];
      const task = fork.createUserTask({ comm: 'two', entry: TEXT, argv }, core.tasks.byPid(1));
      fs.setupStdio(task);
      sched.wakeUpNewTask(task);
      w.machine.runFor(SECOND / 10);
      expect(w.cat('/proc/modules')).toMatch(/^klpbundle_waits .* Paused /m);
      if (gated) {
        expect(w.wait(w.startEnable(bundleOf('slow', ['p1_asker'])))).toBe(0);
        const waiting = () => [...core.tasks.processes()].filter((t) => bundles?.gate.why(t) !== undefined);
        expect(w.machine.runUntil(() => waiting().length === 2, 2 * SECOND)).toBe(true);
      }
      expect(w.wait(task)).toBe(UAPI.EBADF);
      // Its init, which waits for a load that takes 100 ms, has run once.
      expect(
        w.machine.dmesg().filter((line) => line.includes('waits: request_module returned')),
      ).toHaveLength(1);
      expect(w.cat('/proc/modules')).toMatch(/^klpbundle_waits .* Live /m);
    },
  );

  it('whose init falls over has its task killed and stays where it is, as one that is loaded at once', async () => {
    w.machine.addFile('/fault.ko', new Uint8Array(readFileSync(join(MODULES, 'klpdemo_fault.ko'))));
    const task = w.machine.spawn('modprobe_paused', ['/fault.ko', 'what=null_write where=init']);
    expect(w.wait(task)).toBe(128 + SIGKILL);
    expect(w.cat('/proc/modules')).toMatch(/^klpdemo_fault \d+ 1 - Loading /m);
    expect(modprobe('core')).toBe(0);
  });

  it('has handles in the bundle model only', async () => {
    const classic = await World.boot({ model: 'classic' });
    classic.machine.addFile('/lib/core.ko', ko('core'));
    expect(classic.wait(classic.machine.spawn('load_paused', ['/lib/core.ko']))).toBe(UAPI.EINVAL);
    classic.machine.close();
  });
});
