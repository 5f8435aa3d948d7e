// A kernel as it is installed: a bzImage or a vmlinux, with what it knows of itself, each part read when it is asked for.
//
// Invariant: the bytes of a file are unpacked once, for as long as somebody holds them.

import type { CheckableArch } from '../arch/arch.ts';
import { Btf } from '../btf/btf.ts';
import { KIND } from '../btf/kinds.ts';
import { SHT_SYMTAB } from '../elf/constants.ts';
import { isBzImage, type Payload, payloadOf } from './bzimage.ts';
import { type Kallsyms, readKallsyms } from './kallsyms.ts';
import type { KernelCache } from './kept_kernel.ts';
import { isLinkedKernel, LinkedKernel } from './linked_kernel.ts';
import { type KernelSymbols, symbolsOf } from './symbols.ts';

/** Whose kernel it is. */
export type KernelPort = Pick<CheckableArch, 'elf' | 'code'>;

export class KernelFile {
  readonly file: string;
  readonly kernel: LinkedKernel;
  /** How the image has it packed; undefined for a vmlinux. */
  readonly packing: string | undefined;
  readonly #port: KernelPort;
  readonly #kept: ReturnType<KernelCache['of']>;
  #kallsyms: { readonly found: Kallsyms | undefined } | undefined;
  #btf: { readonly found: Btf | undefined } | undefined;
  #symbols: KernelSymbols | undefined;

  /** @param cache of what takes long. @throws ElfError */
  constructor(bytes: Uint8Array, file: string, port: KernelPort, cache?: KernelCache) {
    this.file = file;
    this.#port = port;
    this.#kept = cache?.of(bytes);
    const payload = isBzImage(bytes) ? payloadOf(bytes, file) : undefined;
    this.packing = payload?.packing;
    const kernel = payload ? unpackedOnce(bytes, payload, this.#kept) : bytes;
    this.kernel = new LinkedKernel(kernel, file, port.elf);
  }

  /** Whether a file is one, by its magic. */
  static is(bytes: Uint8Array): boolean {
    return isBzImage(bytes) || isLinkedKernel(bytes);
  }

  /** Whether it has symbols as a linker writes them. */
  get hasSymtab(): boolean {
    return this.kernel.sections.some(({ type }) => type === SHT_SYMTAB);
  }

  /** @throws ElfError where it has none that can be read */
  get kallsyms(): Kallsyms {
    this.#kallsyms ??= { found: readKallsyms(this.kernel) };
    const { found } = this.#kallsyms;
    if (found) return found;
    throw this.kernel.error(
      'no symbols: neither a symbol table nor kallsyms, so nothing tells its functions',
    );
  }

  /** undefined: it was built without. @throws ElfError */
  get btf(): Btf | undefined {
    if (!this.#btf) {
      const section = this.kernel.section('.BTF');
      const source = { file: this.file, section: '.BTF' };
      this.#btf = { found: section && new Btf(this.kernel.data(section), source) };
    }
    return this.#btf.found;
  }

  /** @throws ElfError */
  get symbols(): KernelSymbols {
    this.#symbols ??= this.#kept?.symbols(this.kernel) ?? this.#workedOut();
    return this.#symbols;
  }

  #workedOut(): KernelSymbols {
    const symbols = symbolsOf(this.kernel, this.kallsyms, this.#port.code, this.#functions());
    this.#kept?.keepSymbols(symbols);
    return symbols;
  }

  #functions(): ReadonlySet<string> | undefined {
    const { btf } = this;
    return btf && new Set(btf.ofKinds(KIND.func).map((type) => btf.name(type)));
  }
}

const known = new WeakMap<Uint8Array, Uint8Array>();

function unpackedOnce(
  bytes: Uint8Array,
  { size, unpack }: Payload,
  kept: ReturnType<KernelCache['of']>,
): Uint8Array {
  let kernel = known.get(bytes) ?? kept?.kernel(size);
  if (!kernel) {
    kernel = unpack();
    kept?.keepKernel(kernel);
  }
  known.set(bytes, kernel);
  return kernel;
}
