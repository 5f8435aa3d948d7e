// What the real kernel was seen to do otherwise, by `npm run oracle`, and the machine does now.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Machine } from '../../src/machine/machine.ts';
import { Shell } from '../../src/shell/shell.ts';
import { kernelIdentity } from '../../src/vmlinuz/identity.ts';
import type { LinkedKernel } from '../../src/vmlinuz/linked_kernel.ts';

const MODULES = join(import.meta.dirname, '../../fixtures/modules');
const USED = ['klpdemo_cold', 'klpdemo_patch_cold', 'klpdemo_patch_vmlinux', 'klpbundle_core'];

describe('/proc/kallsyms', () => {
  let machine: Machine;
  let shell: Shell;
  beforeAll(async () => {
    machine = await Machine.boot({ cpus: 1 });
    shell = new Shell(machine, {
      modules: () =>
        USED.map((name) => ({ name: `${name}.ko`, bytes: readFileSync(join(MODULES, `${name}.ko`)) })),
    });
    shell.context.modules.depmod();
  });
  afterAll(() => machine.close());

  const run = async (line: string): Promise<string> => {
    const { status, stdout, stderr } = await shell.execute(line);
    expect([line, status, stderr]).toEqual([line, 0, '']);
    return stdout;
  };
  /** Type and name of a module's symbols. */
  const shown = async (module: string): Promise<string[]> =>
    (await run(`grep -F [${module}] /proc/kallsyms`))
      .trimEnd()
      .split('\n')
      .map((line) => line.split(/\s/).slice(1, 3).join(' '));

  it('lists symbols of a module as its symbol table has them, not by address', async () => {
    await run('modprobe klpdemo_patch_cold');
    const functions = (await shown('klpdemo_patch_cold')).filter((line) => line.includes('klpdemo_new'));
    // klpdemo_new_step is in .text, in front of the two others in .text.unlikely.
    expect(functions).toEqual(['t klpdemo_new_wait_long', 't klpdemo_new_step', 't klpdemo_new_step.cold']);
  });

  it('has a module loaded while something traces with the init functions whose text has gone', async () => {
    await run('modprobe klpdemo_patch_vmlinux; sleep 2; modprobe klpbundle_core');
    const symbols = await shown('klpbundle_core');
    expect(symbols.at(0)).toBe('r __crc_klpbundle_core_value');
    expect(symbols.at(-1)).toBe('T klpbundle_core_init');
    // The init of the patch is what began to trace.
    expect((await shown('klpdemo_patch_vmlinux')).at(-1)).toBe('T klpdemo_patch_vmlinux_init');
    expect((await shown('klpdemo_patch_cold')).filter((line) => line.startsWith('T'))).toEqual([]);
    await run('rmmod klpbundle_core');
    expect((await shell.execute('grep klpbundle_core /proc/kallsyms')).stdout).toBe('');
  });

  it('has none of a module that was loaded when nothing traced any more', async () => {
    await run('echo 0 > /sys/kernel/livepatch/klpdemo_patch_vmlinux/enabled; sleep 3');
    await run('modprobe klpbundle_core');
    expect((await shown('klpbundle_core')).filter((line) => line.startsWith('T'))).toEqual([]);
  });
});

describe('a kernel', () => {
  it('that has its banner twice is told by the one of the last link, which has the number of the build', () => {
    const of = (build: string): string =>
      `Linux version 6.1.0-test (a@b) (gcc) #${build} SMP PREEMPT_DYNAMIC Debian 6.1.192-2 (2026-11-16)\n`;
    const text = `${of('')}\0${of('1')}\0${'6.1.0-test SMP preempt mod_unload modversions '}\0`;
    const bytes = new Uint8Array(Buffer.from(text, 'latin1'));
    const section = { isText: false };
    const kernel = { loaded: [section], data: () => bytes, error: (reason: string) => new Error(reason) };
    expect(kernelIdentity(kernel as unknown as LinkedKernel).banner).toBe(of('1'));
  });
});

describe('one CPU', () => {
  it('has grace periods that end, though it is the idle task that the tick interrupts', async () => {
    const machine = await Machine.boot({ cpus: 1 });
    try {
      const shell = new Shell(machine, { modules: () => [] });
      const events = '/sys/kernel/tracing/kprobe_events';
      await shell.execute(`echo 'p:one version_proc_show' > ${events}`);
      expect(await shell.execute(`echo > ${events}`)).toMatchObject({ status: 0, stderr: '' });
      expect((await shell.execute(`cat ${events}`)).stdout).toBe('');
    } finally {
      machine.close();
    }
  });
});

describe('dmesg -r', () => {
  it('has facility and level of each record, put together as Debian 12 does', async () => {
    const machine = await Machine.boot({ cpus: 1 });
    try {
      const shell = new Shell(machine, { modules: () => [] });
      await shell.execute(
        'dmesg -C; echo one > /dev/kmsg; echo "<3>two" > /dev/kmsg; echo "<30>three" > /dev/kmsg',
      );
      machine.inspect.core.printk.err('four');
      const { stdout } = await shell.execute('dmesg -r');
      expect(stdout.replace(/\[.*?\] /g, '')).toBe('<5>one\n<3>two\n<7>three\n<3>four\n');
    } finally {
      machine.close();
    }
  });
});

describe('modprobe -r', () => {
  it('asks those that the module needed in the order of their load: one that another of them used stays', async () => {
    const machine = await Machine.boot({ cpus: 1 });
    try {
      const names = ['klpbundle_core', 'klpbundle_mid', 'klpbundle_top'];
      const shell = new Shell(machine, {
        modules: () =>
          names.map((name) => ({ name: `${name}.ko`, bytes: readFileSync(join(MODULES, `${name}.ko`)) })),
      });
      shell.context.modules.depmod();
      await shell.execute('modprobe klpbundle_top');
      expect(await shell.execute('modprobe -r klpbundle_top')).toMatchObject({ status: 0, stderr: '' });
      const { stdout } = await shell.execute('cat /proc/modules');
      expect(stdout.split('\n').map((line) => line.split(' ')[0])).toEqual(['klpbundle_core', '']);
    } finally {
      machine.close();
    }
  });
});
