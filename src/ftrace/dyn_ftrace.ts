// The records of all fentry sites: struct dyn_ftrace, by image and module.
// Mirrors the ftrace_pages lists of kernel/trace/ftrace.c.
//
// A record's flags are the kernel's: a count of ops in the low bits, FTRACE_FL_ bits above.

import { type Addr, lo32 } from '../guest/addr.ts';
import type { KernelCore } from '../kernel/core.ts';

export interface FtraceRec {
  /** Address of the fentry call: at most FentrySite.maxOffset behind the function's start. */
  readonly ip: Addr;
  readonly module: string | undefined;
  /** Number of ops that trace it, and FTRACE_FL_ bits. */
  flags: number;
  /** What the site calls now; 0 while it is a nop. */
  target: Addr;
  /** FTRACE_FL_MODIFIED: an ops that changes the ip had it once. */
  wasModified: boolean;
  /** FTRACE_FL_TOUCHED: its code was changed for an ops once. */
  wasTouched: boolean;
  /** Of the image's, whose symbols never change, once it was asked. */
  isValid?: boolean;
}

/** ftrace_rec_count() */
export function recCount({ kernel }: KernelCore, rec: FtraceRec): number {
  return rec.flags & kernel.constants.FTRACE_REF_MAX;
}

/** test_for_valid_rec(), without its mark in the record. */
export function isValid({ symbols, arch }: KernelCore, rec: FtraceRec): boolean {
  if (rec.isValid !== undefined) return rec.isValid;
  const offset = symbols.offsetAt(rec.ip);
  const isValid = offset !== undefined && offset <= arch.fentry.maxOffset;
  if (rec.module === undefined) rec.isValid = isValid;
  return isValid;
}

/** Sites as a real kernel has them whose functions are in part somewhere else in memory. */
export interface KernelSites {
  /** Of a record in such a function: the site there. */
  readonly places: ReadonlyMap<Addr, KernelPlace>;
  /** All of the image by address, also those of functions that have no record here. */
  readonly listed: () => readonly KernelSite[];
}

export interface KernelPlace {
  readonly ip: Addr;
  /** Behind its function's start. */
  readonly offset: number;
}

export interface KernelSite {
  readonly ip: Addr;
  readonly name: string;
}

/** What the kernel calls a site of a function, or one whose function the linker threw away. */
export const functionAtSite = (name: string | undefined, offset: number, maxOffset: number): string =>
  name !== undefined && offset <= maxOffset ? name : `__ftrace_invalid_address___${offset}`;

export class FtraceRecords {
  /** Image first, then modules in load order; ascending by ip in each. */
  readonly #groups = new Map<string | undefined, readonly FtraceRec[]>();
  /** Those of modules: the image's are more than a table is made of in a millisecond, and never change. */
  readonly #byIp = new Map<number, FtraceRec>();
  /** The group of the image as it is shown, where that is not the order of its addresses. */
  #shown: readonly FtraceRec[] | undefined;
  #kernel: KernelSites | undefined;
  /** By the low half of the site's address: all are the image's. */
  #names: ReadonlyMap<number, string> | undefined;

  add(module: string | undefined, sites: readonly Addr[], flags = 0): readonly FtraceRec[] {
    const sorted = [...sites].sort((a, b) => (a < b ? -1 : 1));
    const records = sorted.map(
      (ip): FtraceRec => ({ ip, module, flags, target: 0n, wasModified: false, wasTouched: false }),
    );
    this.#groups.set(module, records);
    if (module !== undefined) for (const rec of records) this.#byIp.set(lo32(rec.ip), rec);
    return records;
  }

  /** The image's are shown as that kernel has them. */
  showAs(kernel: KernelSites): void {
    this.#kernel = kernel;
    this.#shown = undefined;
    this.#names = undefined;
  }

  /** print_rec(): the name of a site's function. */
  nameOf({ symbols, arch }: KernelCore, { ip, module }: FtraceRec): string {
    const kernel = module === undefined ? this.#kernel : undefined;
    if (kernel) {
      this.#names ??= new Map(kernel.listed().map((site) => [lo32(site.ip), site.name]));
      const name = this.#names.get(lo32(kernel.places.get(ip)?.ip ?? ip));
      if (name !== undefined) return name;
    }
    const found = symbols.lookup(ip);
    return functionAtSite(found?.name, found?.offset ?? 0, arch.fentry.maxOffset);
  }

  /** How far behind its function's start a site is, where the kernel has that function as other code. */
  kernelOffset(ip: Addr): number | undefined {
    return this.#kernel?.places.get(ip)?.offset;
  }

  /** All that the kernel lists, by address: the image's first, then modules in load order. */
  *listed(core: KernelCore): IterableIterator<{ ip: Addr; name: string; module: string | undefined }> {
    if (this.#kernel) for (const site of this.#kernel.listed()) yield { ...site, module: undefined };
    for (const [module, records] of this.#groups)
      if (module !== undefined || !this.#kernel)
        for (const rec of records) yield { ip: rec.ip, name: this.nameOf(core, rec), module };
  }

  /** Made when somebody looks: most machines are never asked. */
  #asShown(records: readonly FtraceRec[]): readonly FtraceRec[] {
    const places = this.#kernel?.places;
    if (!places) return records;
    const at = ({ ip }: FtraceRec): Addr => places.get(ip)?.ip ?? ip;
    this.#shown ??= [...records].sort((a, b) => (at(a) < at(b) ? -1 : 1));
    return this.#shown;
  }

  /** The records of a group in [start, end) go. */
  removeRange(module: string, start: Addr, end: Addr): readonly FtraceRec[] {
    const inside = (rec: FtraceRec): boolean => rec.ip >= start && rec.ip < end;
    const records = this.group(module);
    const gone = records.filter(inside);
    this.#groups.set(
      module,
      records.filter((rec) => !inside(rec)),
    );
    for (const rec of gone) this.#byIp.delete(lo32(rec.ip));
    return gone;
  }

  remove(module: string): readonly FtraceRec[] {
    const records = this.#groups.get(module) ?? [];
    this.#groups.delete(module);
    for (const rec of records) this.#byIp.delete(lo32(rec.ip));
    return records;
  }

  group(module: string | undefined): readonly FtraceRec[] {
    return this.#groups.get(module) ?? [];
  }

  /** The record at exactly that address. */
  at(ip: Addr): FtraceRec | undefined {
    const rec = this.#byIp.get(lo32(ip));
    if (rec?.ip === ip) return rec;
    const image = this.group(undefined);
    const first = image[lowerBound(image, ip)];
    return first?.ip === ip ? first : undefined;
  }

  /** ftrace_location_range(): the first record of the image or of a module in [start, end]. */
  inRange(module: string | undefined, start: Addr, end: Addr): FtraceRec | undefined {
    const records = this.group(module);
    const rec = records[lowerBound(records, start)];
    return rec && rec.ip <= end ? rec : undefined;
  }

  /** Those of all modules. */
  *ofModules(): IterableIterator<FtraceRec> {
    for (const [module, records] of this.#groups) if (module !== undefined) yield* records;
  }

  /** As they are listed. */
  *all(): IterableIterator<FtraceRec> {
    for (const [module, records] of this.#groups)
      yield* module === undefined ? this.#asShown(records) : records;
  }

  get count(): number {
    return this.group(undefined).length + this.#byIp.size;
  }
  get groups(): number {
    return this.#groups.size;
  }
}

/** Index of the first record at or above the address. */
function lowerBound(records: readonly FtraceRec[], ip: Addr): number {
  let low = 0;
  let high = records.length;
  while (low < high) {
    const mid = (low + high) >>> 1;
    if (records[mid].ip < ip) low = mid + 1;
    else high = mid;
  }
  return low;
}
