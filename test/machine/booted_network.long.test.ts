// What modules go by that a real kernel's own init functions have set up: netlink, IP, pages, algorithms that are tested before
// anybody has them.

import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bootedModules } from '../../scripts/debian/booted.ts';
import { SoftDependencies } from '../../scripts/modules/soft_dependencies.ts';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { Machine } from '../../src/machine/machine.ts';
import { ModuleLibrary } from '../../src/vet/module_library.ts';
import { DEBIAN_KERNELS, vmlinuzOf } from '../vmlinuz/debian_kernels.ts';

const CACHE = join(import.meta.dirname, '../../.cache/kernels');

describe.each(Object.keys(DEBIAN_KERNELS))('on %s', (series) => {
  const image = vmlinuzOf(series as keyof typeof DEBIAN_KERNELS);
  const folder = image && bootedModules(series as keyof typeof DEBIAN_KERNELS, CACHE);
  const library = folder ? new ModuleLibrary(X86_64.elf, folder) : undefined;
  let machine: Machine;
  const loaded = new Set<string>();

  beforeAll(async () => {
    if (image) machine = await Machine.boot({ kernel: image, cpus: 1 });
  });
  afterAll(() => machine?.close());

  const statusOf = (name: string): number | undefined => {
    let status: number | undefined = 0;
    const wanted = [...(library?.has('crc32c_generic') ? ['crc32c_generic'] : []), name];
    for (const one of wanted.flatMap((each) => library?.order(each) ?? [])) {
      if (loaded.has(one.name)) continue;
      machine.addFile(`/${one.name}.ko`, one.bytes);
      const task = machine.insmod(`/${one.name}.ko`);
      machine.runUntil(() => machine.exitStatus(task) !== undefined, 400e9);
      status = machine.exitStatus(task);
      if (status !== 0) return status;
      loaded.add(one.name);
    }
    return status;
  };

  it.skipIf(!library).each([
    ['crypto_user', 'a netlink socket'],
    ['ib_core', 'a class of a network namespace'],
    ['dummy', 'a network device'],
    ['nf_tables', 'netfilter of IPv4 and IPv6'],
    ['inet_diag', 'kinds of netlink messages'],
    ['tls', 'protocols of TCP'],
  ])('%s loads, which asks for %s', (name) => {
    expect(statusOf(name)).toBe(0);
  });

  it.skipIf(!library)('who waits for the test of an algorithm goes on when it is done', () => {
    expect(library?.has('authenc')).toBe(true);
    expect(statusOf('authenc')).toBe(0);
    expect(statusOf('cfg80211')).toBe(0);
  });
});

describe('what modprobe loads before a module', () => {
  const folder = vmlinuzOf('6.1') && bootedModules('6.1', CACHE);

  it.skipIf(!folder)('is found by the name of an algorithm', () => {
    const library = new ModuleLibrary(X86_64.elf, folder);
    const soft = new SoftDependencies(X86_64.elf, folder as string);
    const [module] = library.order('libcrc32c') ?? [];
    expect(soft.before(module.bytes, module.name)).toEqual(['crc32c_generic']);
  });
});
