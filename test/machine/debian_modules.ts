// Modules of a Debian kernel on a machine with it, loaded with those that they need.

import { join } from 'node:path';
import { bootedModules } from '../../scripts/debian/booted.ts';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { Machine } from '../../src/machine/machine.ts';
import { ModuleLibrary } from '../../src/vet/module_library.ts';
import { DEBIAN_KERNELS, vmlinuzOf } from '../vmlinuz/debian_kernels.ts';

const CACHE = join(import.meta.dirname, '../../.cache/kernels');
/** Virtual time of one load: algorithms are tested before anybody has them. */
const PATIENCE_NS = 400e9;

export type Series = keyof typeof DEBIAN_KERNELS;
export const SERIES = Object.keys(DEBIAN_KERNELS) as Series[];

export class DebianModules {
  readonly library: ModuleLibrary | undefined;
  readonly #image: string | undefined;
  readonly #loaded = new Set<string>();
  #machine: Machine | undefined;

  /** Without a library where the kernel cannot be had. */
  constructor(series: Series) {
    this.#image = vmlinuzOf(series);
    const folder = this.#image && bootedModules(series, CACHE);
    this.library = folder ? new ModuleLibrary(X86_64.elf, folder) : undefined;
  }

  async boot(cpus = 1): Promise<void> {
    if (this.library) this.#machine = await Machine.boot({ kernel: this.#image as string, cpus });
  }

  close(): void {
    this.#machine?.close();
  }

  get machine(): Machine {
    if (!this.#machine) throw new Error('the machine is not booted');
    return this.#machine;
  }

  /** What insmod of it exits with, or that of one that it needs. */
  statusOf(name: string): number | undefined {
    let status: number | undefined = 0;
    for (const one of this.library?.order(name) ?? []) {
      if (this.#loaded.has(one.name)) continue;
      this.machine.addFile(`/${one.name}.ko`, one.bytes);
      const task = this.machine.insmod(`/${one.name}.ko`);
      this.machine.runUntil(() => this.machine.exitStatus(task) !== undefined, PATIENCE_NS);
      status = this.machine.exitStatus(task);
      if (status !== 0) return status;
      this.#loaded.add(one.name);
    }
    return status;
  }

  /** What was said while it was loaded, without times. */
  saidBy(name: string): { readonly status: number | undefined; readonly said: readonly string[] } {
    const { printk } = this.machine.inspect.core;
    const from = printk.nextSeq;
    const status = this.statusOf(name);
    return { status, said: printk.since(from).map(({ text }) => text) };
  }
}
