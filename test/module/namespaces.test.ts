// Namespaces of what the kernel itself exports, and of those that name the modules which may use a symbol.

import { describe, expect, it } from 'vitest';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { parseElf } from '../../src/elf/elf_object.ts';
import { readModInfo } from '../../src/elf/modinfo.ts';
import type { KernelCore } from '../../src/kernel/core.ts';
import type { LoadInfo } from '../../src/module/load_info.ts';
import type { Module } from '../../src/module/module.ts';
import { checkImports, isImported } from '../../src/module/namespaces.ts';
import { object, Rig } from './harness.ts';

const MODULE = 'module-no-namespace';

function load(namespace: string | undefined) {
  const rig = new Rig();
  rig.core.symbols.addExport('shared_private', {
    addr: rig.core.symbols.findExport('__fentry__')?.addr ?? 0n,
    gpl: false,
    ...(namespace === undefined ? {} : { namespace }),
  });
  const result = rig.run(rig.loader.loadModule({ file: 'x.ko', bytes: object(MODULE) }));
  return { result, last: rig.dmesg.slice(-2) };
}

describe('a symbol of the kernel that is in a namespace', () => {
  it('is not for a module that does not import it', () => {
    const { result, last } = load('PRIVATE_NS');
    expect(result).toMatchObject({ ok: false, errno: 22 });
    expect(last).toEqual([
      'no_namespace: module uses symbol (shared_private) from namespace PRIVATE_NS, but does not import it.',
      'no_namespace: Unknown symbol shared_private (err -22)',
    ]);
  });

  it.each([[undefined], ['']])('is for everybody when the namespace is %j', (namespace) => {
    expect(load(namespace).result).toMatchObject({ ok: true });
  });
});

/** @param imports namespaces that it imports */
function asked(release: string, imports: readonly string[] = []) {
  const said: string[] = [];
  const core = { kernel: { release }, printk: { err: (line: string) => said.push(line) } };
  const info = readModInfo(parseElf(object(MODULE), 'x.ko', X86_64.elf));
  const load = { info: { ...info, getAll: () => imports } } as unknown as LoadInfo;
  const mod = { name: 'kvm_amd' } as Module;
  return {
    said,
    may: (namespace: string) => isImported(core as unknown as KernelCore, load, mod, 'f', namespace),
    check: () => checkImports(core as unknown as KernelCore, load, mod),
  };
}

describe('a namespace that names modules', () => {
  it.each([
    ['module:kvm_amd', true],
    ['module:kvm,kvm_amd', true],
    ['module:kvm*,vfio', true],
    ['module:kvm', false],
    ['module:vfio*', false],
    ['module:', false],
    ['kvm_amd', false],
  ])('%s: a module kvm_amd may use it from 6.16 on: %j', (namespace, may) => {
    const { may: mayUse, said } = asked('7.3.4');
    expect([mayUse(namespace), said.length]).toEqual([may, may ? 0 : 1]);
    expect(asked('6.12.117').may(namespace)).toBe(false);
  });

  it('is not to be imported, which is EPERM', () => {
    const { check, said } = asked('7.3.4', ['A', 'module:kvm']);
    expect(check).toThrow(expect.objectContaining({ code: 'EPERM' }));
    expect(said).toEqual(['kvm_amd: module tries to import module namespace: module:kvm']);
    expect(asked('6.12.117', ['module:kvm']).check).not.toThrow();
  });
});
