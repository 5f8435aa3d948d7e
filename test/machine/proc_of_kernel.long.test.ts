// What a real kernel's own code puts into /proc at its boot, and a file system's module after it.

import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bootedModules } from '../../scripts/debian/booted.ts';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { Machine } from '../../src/machine/machine.ts';
import { Shell } from '../../src/shell/shell.ts';
import { ModuleLibrary } from '../../src/vet/module_library.ts';
import { DEBIAN_KERNELS, vmlinuzOf } from '../vmlinuz/debian_kernels.ts';

const CACHE = join(import.meta.dirname, '../../.cache/kernels');
const NAME = 'ext4';

describe.each(Object.keys(DEBIAN_KERNELS))('/proc of %s', (series) => {
  const image = vmlinuzOf(series as keyof typeof DEBIAN_KERNELS);
  const folder = image && bootedModules(series as keyof typeof DEBIAN_KERNELS, CACHE);
  const library = folder ? new ModuleLibrary(X86_64.elf, folder) : undefined;
  let machine: Machine;
  let shell: Shell;
  const sh = async (line: string): Promise<string> => {
    const { stdout, stderr } = await shell.execute(line);
    return stdout + stderr;
  };

  beforeAll(async () => {
    if (!image) return;
    machine = await Machine.boot({ kernel: image, cpus: 2 });
    shell = new Shell(machine);
  });
  afterAll(() => machine?.close());

  it.skipIf(!image)('has the directories that modules count on, and files shown by the kernel', async () => {
    const present = (await sh('ls /proc')).split('\n');
    expect(present).toEqual(
      expect.arrayContaining(['bus', 'devices', 'driver', 'filesystems', 'fs', 'locks', 'net', 'tty']),
    );
    // No warning came while it booted.
    expect(await sh('cat /proc/sys/kernel/tainted')).toBe('0\n');
    expect(await sh('cat /proc/execdomains')).toBe('0-0\tLinux           \t[kernel]\n');
    expect(await sh('ls /proc/tty')).toBe('driver\ndrivers\nldisc\nldiscs\n');
    expect(await sh('grep -x -c "  1 mem" /proc/devices')).toBe('1\n');
    expect(await sh('test -d /proc/net/netfilter && test -d /proc/net/stat && echo both')).toBe('both\n');
    expect(await sh('dmesg')).not.toMatch(/WARNING|name '/);
  });

  it.skipIf(!library)('takes what a file system brings, and gives it back', async () => {
    const order = library?.order(NAME) ?? [];
    for (const { name, bytes } of order) {
      machine.addFile(`/${name}.ko`, bytes);
      expect(await sh(`insmod /${name}.ko`)).toBe('');
    }
    expect(await sh('ls /proc/fs')).toBe('ext4\njbd2\nnfsd\n');
    expect(await sh('grep ext /proc/filesystems')).toBe('\text3\n\text2\n\text4\n');
    for (const { name } of [...order].reverse()) expect(await sh(`rmmod ${name}`)).toBe('');
    expect(await sh('ls /proc/fs; grep -c ext /proc/filesystems')).toBe('nfsd\n0\n');
    expect(await sh('dmesg')).not.toMatch(/WARNING|name '/);
  });
});
