// The parameters of a module as finit_module() reads them of its caller.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { assembleSnippet } from '../../src/arch/x86_64/asm/assembler.ts';
import { PAGE_SIZE, PROT_EXEC, PROT_READ } from '../../src/guest/memory.ts';
import { UAPI } from '../../src/kernel/uapi.ts';
import { Machine } from '../../src/machine/machine.ts';
import { MODULES } from './observed.ts';

const SECOND = 1e9;
const TEXT = 0x700000n;
/** open(argv[1]), finit_module(fd, NULL, 0), exit with its errno */
const LOAD_WITHOUT = [
  'mov rdi, [rsp + 16]; xor esi, esi; xor edx, edx; mov eax, 2; syscall',
  'mov edi, eax; xor esi, esi; xor edx, edx; mov eax, 313; syscall',
  'mov edi, eax; neg edi; mov eax, 231; syscall',
].join('\n');

it('are a string of the caller’s: a NULL pointer is -EFAULT, found once the module is laid out', async () => {
  const machine = await Machine.boot();
  machine.addFile('/target.ko', readFileSync(join(MODULES, 'klpdemo_target.ko')));
  const { core, fork, sched, modules, fs } = machine.inspect;
  core.mem.map(TEXT, PAGE_SIZE, PROT_READ | PROT_EXEC);
  core.mem.pokeText(TEXT, await assembleSnippet(LOAD_WITHOUT, TEXT));
  machine.runFor(SECOND);
  const used = core.slab.used();
  const task = fork.createUserTask(
    { comm: 'loader', entry: TEXT, argv: ['loader', '/target.ko'] },
    core.tasks.byPid(1),
  );
  fs.setupStdio(task);
  sched.wakeUpNewTask(task);
  machine.runUntil(() => machine.exitStatus(task) !== undefined, SECOND);
  expect(machine.exitStatus(task)).toBe(UAPI.EFAULT);
  expect(modules.find('klpdemo_target')).toBeUndefined();
  machine.runFor(SECOND);
  expect(core.slab.used()).toBe(used);
  machine.close();
});

it('are an empty string where a program is started without', async () => {
  const machine = await Machine.boot();
  machine.addFile('/target.ko', readFileSync(join(MODULES, 'klpdemo_target.ko')));
  const task = machine.spawn('insmod', ['/target.ko']);
  machine.runUntil(() => machine.exitStatus(task) !== undefined, SECOND);
  expect(machine.exitStatus(task)).toBe(0);
  machine.close();
});
