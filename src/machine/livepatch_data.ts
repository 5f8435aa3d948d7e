// What of guest memory is livepatch's: which part of which object an address is in, by the kernel's names.
//
// Invariant: it is asked of the machine as it is now; patches, functions and tasks come and go.

import { type Addr, hi32, lo32 } from '../guest/addr.ts';
import type { KernelCore } from '../kernel/core.ts';
import type { Livepatch } from '../livepatch/core.ts';

/** Names of guest variables that are livepatch's own, and their bytes. */
const VARIABLES = { klp_target_state: 4, klp_transition_patch: 8, klp_patches: 16, klp_ops: 16 } as const;

/** Bytes of a struct list_head. */
const LIST_HEAD = 16n;

/** The word of TIF_ bits: most who read it look for others. */
export const FLAGS = 'thread_info.flags';

/** What nameOf() answers. */
export const DATA_NAMES: readonly string[] = [...Object.keys(VARIABLES), 'patch_state', FLAGS, 'klp_func'];

interface Range {
  readonly addr: Addr;
  readonly start: number;
  readonly size: number;
  readonly name: string;
}

export class LivepatchData {
  readonly #core: KernelCore;
  readonly #livepatch: Livepatch;
  /** By low half of the address: all of it is in the heap, the image or modules, which differ there. Stacks do not. */
  #ranges: Range[] = [];

  constructor(core: KernelCore, livepatch: Livepatch) {
    this.#core = core;
    this.#livepatch = livepatch;
    this.renew();
  }

  /** To be called when something may have come or gone. */
  renew(): void {
    const core = this.#core;
    const livepatch = this.#livepatch;
    const { structs } = core.kernel;
    const { node } = structs.klp_func.fields;
    const ranges: Range[] = [];
    const add = (addr: Addr, size: number, name: string): void => {
      ranges.push({ addr, start: lo32(addr), size, name });
    };
    for (const [name, size] of Object.entries(VARIABLES)) add(core.symbols.require(name), size, name);
    for (const task of [...core.tasks.processes(), ...core.tasks.idle]) {
      add(task.addr + BigInt(structs.task_struct.fields.patch_state), 4, 'patch_state');
      add(task.addr + BigInt(structs.task_struct.fields.thread_info_flags), 8, FLAGS);
    }
    for (const ops of livepatch.patching.allOps()) add(ops, structs.klp_ops.fields.fops, 'klp_ops');
    for (const patch of livepatch.patches())
      for (const object of patch.objects())
        for (const { addr } of object.funcs()) {
          // Its place in the object's list is looked at under klp_mutex alone.
          add(addr, node, 'klp_func');
          add(addr + BigInt(node) + LIST_HEAD, structs.klp_func.size - node - Number(LIST_HEAD), 'klp_func');
        }
    this.#ranges = ranges.sort((a, b) => a.start - b.start);
  }

  /** The object that an access is to; undefined: not livepatch's. */
  nameOf(addr: Addr): string | undefined {
    return this.#rangeOf(addr)?.name;
  }

  /** And which one: a word that no other object has. */
  objectOf(addr: Addr): string | undefined {
    const range = this.#rangeOf(addr);
    return range && `${range.name} ${range.start}`;
  }

  /**
   * Whether what is there now is something else, of flags the one that is livepatch's.
   * @param before bytes that were there, of one object
   */
  isChanged(addr: Addr, before: Uint8Array): boolean {
    const { mem, kernel } = this.#core;
    const range = this.#rangeOf(addr);
    const now = mem.view(addr, before.length);
    const { TIF_PATCH_PENDING } = kernel.constants;
    const pending = (range?.start ?? 0) + (TIF_PATCH_PENDING >> 3) - lo32(addr);
    return before.some((byte, i) => {
      const changed = byte ^ now[i];
      return range?.name !== FLAGS
        ? changed !== 0
        : i === pending && ((changed >> (TIF_PATCH_PENDING & 7)) & 1) !== 0;
    });
  }

  #rangeOf(addr: Addr): Range | undefined {
    const at = lo32(addr);
    let [low, high] = [0, this.#ranges.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#ranges[middle].start <= at) low = middle + 1;
      else high = middle;
    }
    const range = this.#ranges[low - 1];
    const isInside = range !== undefined && at < range.start + range.size && hi32(addr) === hi32(range.addr);
    return isInside ? range : undefined;
  }

  /** All of it, as text that can be compared; of flags the one that is livepatch's. */
  contents(): string {
    const { mem, kernel } = this.#core;
    const pending = 1 << kernel.constants.TIF_PATCH_PENDING;
    return this.#ranges
      .map(({ addr, size, name }) =>
        name === FLAGS ? mem.readU32(addr) & pending : Buffer.from(mem.view(addr, size)).toString('latin1'),
      )
      .join();
  }
}
