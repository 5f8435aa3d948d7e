// What of a kernel's image takes long to come by, as it is kept on disk: what was packed in it, its symbols, and the object
// that it could have been (src/objtool/vmlinux.ts).
//
// Invariants: the name of what is kept has the hash of the file; that of what was worked out, also the digest of the code
// that did so.

import { createHash } from 'node:crypto';
import { deserialize, serialize } from 'node:v8';
import type { DiskCache } from './disk_cache.ts';
import { type KallsymsPlace, kallsymsAt, kallsymsPlace } from './kallsyms.ts';
import type { LinkedKernel } from './linked_kernel.ts';
import { readersOf } from './readers.ts';
import type { KernelSymbols } from './symbols.ts';

type Kept = Omit<KernelSymbols, 'names' | 'count'> & { readonly kallsyms: KallsymsPlace };

export class KernelCache {
  readonly #disk: DiskCache;
  readonly #port: string;
  readonly #least: number;

  /** @param least bytes of a file: of smaller ones all is worked out sooner than it is read */
  constructor(disk: DiskCache, port: string, least: number) {
    this.#disk = disk;
    this.#port = port;
    this.#least = least;
  }

  /** Of a file with these bytes; undefined: nothing of it is kept. */
  of(bytes: Uint8Array): KeptKernel | undefined {
    return bytes.length < this.#least ? undefined : new KeptKernel(this.#disk, this.#port, bytes);
  }
}

class KeptKernel {
  readonly #disk: DiskCache;
  readonly #port: string;
  readonly #bytes: Uint8Array;
  #hash: string | undefined;

  constructor(disk: DiskCache, port: string, bytes: Uint8Array) {
    this.#disk = disk;
    this.#port = port;
    this.#bytes = bytes;
  }

  /** @param size what it has to have */
  kernel(size: number): Uint8Array | undefined {
    const kernel = this.#disk.read(this.#name('kernel'));
    return kernel?.length === size ? kernel : undefined;
  }

  keepKernel(kernel: Uint8Array): void {
    this.#disk.write(this.#name('kernel'), [kernel]);
  }

  object(): Uint8Array | undefined {
    return this.#disk.read(this.#workedOut('object'));
  }

  keepObject(object: Uint8Array): void {
    this.#disk.write(this.#workedOut('object'), [object]);
  }

  symbols(kernel: LinkedKernel): KernelSymbols | undefined {
    const bytes = this.#disk.read(this.#workedOut('symbols'));
    if (!bytes) return undefined;
    const { kallsyms, ...symbols } = deserialize(bytes) as Kept;
    const names = kallsymsAt(kernel, kallsyms);
    return { count: names.count, names, ...symbols };
  }

  keepSymbols({ names, count: _, ...symbols }: KernelSymbols): void {
    const kept: Kept = { kallsyms: kallsymsPlace(names), ...symbols };
    this.#disk.write(this.#workedOut('symbols'), [serialize(kept)]);
  }

  #workedOut(what: string): string {
    return this.#name(`${readersOf(this.#port).slice(0, 16)}.${what}`);
  }

  #name(what: string): string {
    this.#hash ??= createHash('sha256').update(this.#bytes).digest('hex').slice(0, 32);
    return `${this.#hash}.${what}`;
  }
}
