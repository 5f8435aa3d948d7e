// What modules go by that a real kernel's own init functions have set up: netlink, IP, pages, algorithms that are tested before
// anybody has them.

import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bootedModules } from '../../scripts/debian/booted.ts';
import { SoftDependencies } from '../../scripts/modules/soft_dependencies.ts';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { ModuleLibrary } from '../../src/vet/module_library.ts';
import { vmlinuzOf } from '../vmlinuz/debian_kernels.ts';
import { DebianModules, SERIES } from './debian_modules.ts';

const CACHE = join(import.meta.dirname, '../../.cache/kernels');

const MACHINES = SERIES.flatMap((series) => [1, 2].map((cpus) => [series, cpus] as const));

// Of two CPUs, one completes while a thread on the other is about to wait, or has been told already.
describe.each(MACHINES)('on %s, with %i CPUs', (series, cpus) => {
  const modules = new DebianModules(series);
  const { library } = modules;

  beforeAll(() => modules.boot(cpus));
  afterAll(() => modules.close());

  const statusOf = (name: string): number | undefined => {
    const checksum = library?.has('crc32c_generic') ? modules.statusOf('crc32c_generic') : 0;
    return checksum === 0 ? modules.statusOf(name) : checksum;
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
