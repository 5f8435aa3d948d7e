// A machine behind its kernel's own init functions, as it is kept on disk: what they did to memory, to the CPUs, and to what
// host functions keep. A machine of the same options takes that over instead of executing them.
//
// Invariant: what is taken over is, to the byte, what executing them would leave. Where something is under way that is no
// plain data, or a host function was called that KEPT_CALLS has not, nothing is kept, and they are executed each time.

import { createHash } from 'node:crypto';
import { deserialize, serialize } from 'node:v8';
import type { ArchEngine } from '../../arch/engine.ts';
import type { Addr } from '../../guest/addr.ts';
import { PAGE_SIZE } from '../../guest/memory.ts';
import type { KernelCore } from '../../kernel/core.ts';
import type { DiskCache } from '../../vmlinuz/disk_cache.ts';
import { MACHINE_OPTIONS } from '../option_table.ts';
import type { MachineOptions } from '../options.ts';
import { KEPT_CALLS } from './kept_calls.ts';
import { bootMakersOf } from './makers.ts';

/** What is kept of a boot, before the bytes of its pages. */
interface Kept {
  readonly engine: unknown;
  readonly space: number;
  /** By name, of the host functions'. */
  readonly states: ReadonlyMap<string, unknown>;
  /** Pages of memory that are other ones than before, by number. */
  readonly pages: Uint32Array;
}

/** Bytes before it that say how long it is. */
const LENGTH = 8;

/**
 * The name of the boot of a kernel with options.
 * @param hash of the kernel's file
 * @returns undefined where none is kept: of chances and schedules there are too many
 */
export function keptBootName(
  hash: string,
  port: string,
  options: Required<MachineOptions>,
): string | undefined {
  if (options.schedule !== '' || options.seed !== MACHINE_OPTIONS.seed.default) return undefined;
  // It is executed at the same pace on all.
  const { kernel: _, instructionNs: __, ...others } = options;
  const of = createHash('sha256').update(JSON.stringify(others)).update(bootMakersOf(port));
  return `${hash}.${of.digest('hex').slice(0, 16)}.boot.bin`;
}

export class KeptBoot {
  readonly #core: KernelCore;
  readonly #engine: ArchEngine;
  readonly #disk: DiskCache;
  readonly #name: string;
  #before:
    | { readonly pages: Map<number, Uint8Array>; readonly tasks: readonly Addr[]; readonly taints: number }
    | undefined;

  /** @param name of keptBootName() */
  constructor(core: KernelCore, engine: ArchEngine, disk: DiskCache, name: string) {
    this.#core = core;
    this.#engine = engine;
    this.#disk = disk;
    this.#name = name;
  }

  /** @returns whether there was one: the machine is as if it had executed it */
  restore(): boolean {
    const { mem, host } = this.#core;
    const data = this.#engine.restore && this.#disk.read(this.#name);
    if (!data) return false;
    const length = new DataView(data.buffer, data.byteOffset).getUint32(0, true);
    const kept = deserialize(data.subarray(LENGTH, LENGTH + length)) as Kept;
    mem.putPages(kept.pages, data.subarray(LENGTH + length));
    mem.space = kept.space;
    for (const [name, state] of host.states) state.restore(kept.states.get(name));
    this.#engine.restore?.(kept.engine);
    return true;
  }

  /** It is about to be executed. */
  begin(): void {
    const { mem } = this.#core;
    if (!this.#engine.keep) return;
    const pages = new Map<number, Uint8Array>();
    for (const page of mem.touchedPages())
      pages.set(page, mem.u8.slice(page * PAGE_SIZE, (page + 1) * PAGE_SIZE));
    this.#before = { pages, tasks: this.#tasks(), taints: this.#core.taints };
  }

  /** It was executed, and all sleep. @param called the host functions that were called */
  end(called: ReadonlySet<string>): void {
    const before = this.#before;
    this.#before = undefined;
    const { mem, host } = this.#core;
    if (!before || this.#core.taints !== before.taints || this.#tasks().join() !== before.tasks.join())
      return;
    if ([...called].some((name) => !KEPT_CALLS.has(name))) return;
    const states = new Map([...host.states].map(([name, state]) => [name, state.keep()]));
    if ([...states.values()].includes(undefined)) return;
    const pages = mem.touchedPages().filter((page) => {
      const now = mem.u8.subarray(page * PAGE_SIZE, (page + 1) * PAGE_SIZE);
      return Buffer.compare(now, before.pages.get(page) ?? ZEROES) !== 0;
    });
    const kept: Kept = { engine: this.#engine.keep?.(), space: mem.space, states, pages };
    const header = serialize(kept);
    const length = new Uint8Array(LENGTH);
    new DataView(length.buffer).setUint32(0, header.length, true);
    const bytes = Array.from(pages, (page) => mem.u8.subarray(page * PAGE_SIZE, (page + 1) * PAGE_SIZE));
    this.#disk.write(this.#name, [length, header, ...bytes]);
  }

  /** Those that there are, and then those that the CPUs are at: one that is dead may be among them where time is short. */
  #tasks(): Addr[] {
    const { tasks } = this.#core;
    return [...tasks.known(), ...tasks.curr].map(({ addr }) => addr);
  }
}
const ZEROES = new Uint8Array(PAGE_SIZE);
