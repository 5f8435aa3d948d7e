// A module of a real kernel that registers a driver: its own functions put it into sysfs, and take it out again.

import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bootedModules } from '../../scripts/debian/booted.ts';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import type { SysfsDir } from '../../src/kernel/sysfs.ts';
import { Machine } from '../../src/machine/machine.ts';
import { ModuleLibrary } from '../../src/vet/module_library.ts';
import { DEBIAN_KERNELS, vmlinuzOf } from '../vmlinuz/debian_kernels.ts';

const NAME = 'leds_gpio';

const CACHE = join(import.meta.dirname, '../../.cache/kernels');

function treeOf(dir: SysfsDir): string[] {
  return dir.entries().flatMap((node) => {
    if (node.kind === 'directory') return [node.path, ...treeOf(node)];
    return node.kind === 'link' ? [`${node.path} -> ${node.text}`] : [node.path];
  });
}

function ended(machine: Machine, task: Parameters<Machine['exitStatus']>[0]): number | undefined {
  machine.runUntil(() => machine.exitStatus(task) !== undefined, 60e9);
  return machine.exitStatus(task);
}

describe.each(Object.keys(DEBIAN_KERNELS))('a driver on %s', (series) => {
  const image = vmlinuzOf(series as keyof typeof DEBIAN_KERNELS);
  const folder = image && bootedModules(series as keyof typeof DEBIAN_KERNELS, CACHE);
  const library = folder ? new ModuleLibrary(X86_64.elf, folder) : undefined;
  let machine: Machine;

  beforeAll(async () => {
    if (image) machine = await Machine.boot({ kernel: image, cpus: 2 });
  });
  afterAll(() => machine?.close());

  it.skipIf(!library)('comes into sysfs with its module and leaves it as it was', () => {
    const { root } = machine.inspect.sysfs;
    const before = treeOf(root);
    const order = library?.order(NAME) ?? [];
    expect(order.map(({ name }) => name)).toContain(NAME);
    for (const { name, bytes } of order) {
      machine.addFile(`/${name}.ko`, bytes);
      expect([name, ended(machine, machine.insmod(`/${name}.ko`))]).toEqual([name, 0]);
    }
    const added = treeOf(root).filter((path) => !before.includes(path));
    expect(added).toContain('/bus/platform/drivers/leds-gpio/bind');
    expect(added).toContain('/bus/platform/drivers/leds-gpio/module -> ../../../../module/leds_gpio');
    expect(added).toContain(
      '/module/leds_gpio/drivers/platform:leds-gpio -> ../../../bus/platform/drivers/leds-gpio',
    );
    for (const { name } of [...order].reverse()) expect(ended(machine, machine.rmmod(name))).toBe(0);
    machine.runFor(1e9);
    expect(treeOf(root)).toEqual(before);
  });

  it.skipIf(!image)('is on a bus whose attributes are read by its own functions', () => {
    const task = machine.spawn('cat', ['/sys/bus/platform/drivers_autoprobe']);
    expect([ended(machine, task), machine.stdout(task)]).toEqual([0, '1\n']);
  });
});
