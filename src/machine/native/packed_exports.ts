// What a real kernel exports, 10,000 and more, as columns: found by name.
//
// Invariant: they are those of the tables of its file, in their order.

import { type NameColumns, PackedNames } from '../../kernel/packed_names.ts';
import type { KernelExport } from '../../vmlinuz/exports.ts';

export interface ExportColumns {
  readonly names: NameColumns;
  readonly addresses: Uint32Array;
  readonly gpl: Uint8Array;
  /** Numbers in `allNamespaces`. */
  readonly namespaces: Uint16Array;
  readonly allNamespaces: readonly string[];
  /** undefined in a kernel without CONFIG_MODVERSIONS. */
  readonly crcs: Uint32Array | undefined;
}

export class PackedExports implements Iterable<KernelExport> {
  readonly columns: ExportColumns;
  readonly #names: PackedNames;

  constructor(columns: ExportColumns) {
    this.columns = columns;
    this.#names = new PackedNames(columns.names);
  }

  static of(exports: readonly KernelExport[]): PackedExports {
    const allNamespaces = [...new Set(exports.map(({ namespace }) => namespace))];
    const numbers = new Map(allNamespaces.map((namespace, i) => [namespace, i]));
    const hasCrcs = exports.every(({ crc }) => crc !== undefined);
    return new PackedExports({
      names: PackedNames.of(exports.length, (i) => exports[i].name).columns,
      addresses: Uint32Array.from(exports, ({ address }) => address),
      gpl: Uint8Array.from(exports, ({ gpl }) => Number(gpl)),
      namespaces: Uint16Array.from(exports, ({ namespace }) => numbers.get(namespace) as number),
      allNamespaces,
      crcs: hasCrcs ? Uint32Array.from(exports, ({ crc = 0 }) => crc) : undefined,
    });
  }

  find(name: string): KernelExport | undefined {
    const [first] = this.#names.numbers(name);
    return first === undefined ? undefined : this.#at(first);
  }

  *[Symbol.iterator](): Iterator<KernelExport> {
    for (let i = 0; i < this.#names.length; i++) yield this.#at(i);
  }

  #at(i: number): KernelExport {
    const { addresses, gpl, namespaces, allNamespaces, crcs } = this.columns;
    return {
      name: this.#names.at(i),
      address: addresses[i],
      gpl: gpl[i] !== 0,
      namespace: allNamespaces[namespaces[i]],
      ...(crcs ? { crc: crcs[i] } : {}),
    };
  }
}
