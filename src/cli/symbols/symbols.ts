// `klpemu symbols`: what a kernel image says of its symbols, and what is worked out of it.

import type { KernelFile } from '../../vmlinuz/kernel_file.ts';
import { KERNEL_HALF } from '../../vmlinuz/linked_kernel.ts';
import { KIND_ABSOLUTE, KIND_FUNCTION, KIND_LABEL, KIND_MARK, KIND_OBJECT } from '../../vmlinuz/symbols.ts';
import { EXIT } from '../exit.ts';
import { openKernel, readable } from '../kernel_input.ts';
import { whole } from '../numbers.ts';
import { print, printError, toTerminal } from '../terminal.ts';

interface SymbolsOptions {
  readonly functions?: boolean;
  readonly summary?: boolean;
  readonly json?: boolean;
}

interface Shown {
  readonly address: string;
  /** Of a function. */
  readonly size?: number;
  /** nm's letter. */
  readonly type: string;
  readonly kind: string;
  readonly section?: string;
  readonly name: string;
  /** From its beginning, where an address was asked for. */
  readonly offset?: number;
}

const KINDS: Readonly<Record<number, string>> = {
  [KIND_FUNCTION]: 'function',
  [KIND_LABEL]: 'label',
  [KIND_MARK]: 'mark',
  [KIND_OBJECT]: 'object',
  [KIND_ABSOLUTE]: 'absolute',
};

export function symbols(path: string, names: readonly string[], options: SymbolsOptions): void {
  const file = readable(() => {
    const opened = openKernel(path);
    // Whatever is wrong with it is to be said before anything is printed.
    void opened.symbols;
    return opened;
  });
  const listing = new Listing(file, options.functions ?? false);
  if (options.summary) {
    printSummary(path, listing, options.json ?? false);
    return;
  }
  const { shown, missing } =
    names.length === 0 ? { shown: listing.all(), missing: [] } : listing.wanted(names);
  if (options.json) print(`${JSON.stringify({ file: path, ...listing.about(), symbols: shown, missing })}\n`);
  else {
    printLines(shown.map(lineOf));
    for (const name of missing) printError(`klpemu: ${path}: no symbol ${name}\n`);
  }
  if (missing.length > 0) process.exitCode = EXIT.failed;
}

class Listing {
  readonly #file: KernelFile;
  readonly #functionsOnly: boolean;

  constructor(file: KernelFile, functionsOnly: boolean) {
    this.#file = file;
    this.#functionsOnly = functionsOnly;
  }

  about() {
    const { packing, symbols: table } = this.#file;
    return { ...(packing === undefined ? {} : { packing }), kallsyms: table.names.encoding };
  }

  kinds(): Readonly<Record<string, number>> {
    const counts: Record<string, number> = {};
    for (const name of Object.values(KINDS)) counts[name] = 0;
    for (const kind of this.#file.symbols.kind) counts[KINDS[kind]]++;
    return counts;
  }

  all(): Shown[] {
    const { count } = this.#file.symbols;
    const shown: Shown[] = [];
    for (let i = 0; i < count; i++) if (this.#isShown(i)) shown.push(this.#symbol(i));
    return shown;
  }

  /** In the order that they are asked for. */
  wanted(names: readonly string[]): { shown: Shown[]; missing: string[] } {
    const missing: string[] = [];
    const shown = names.flatMap((name) => {
      const found = ADDRESS.test(name) ? this.#at(BigInt(name)) : this.#named(name);
      if (found.length === 0) missing.push(name);
      return found;
    });
    return { shown, missing };
  }

  #isShown(i: number): boolean {
    return !this.#functionsOnly || this.#file.symbols.kind[i] === KIND_FUNCTION;
  }

  #named(name: string): Shown[] {
    const { count, names } = this.#file.symbols;
    const pattern = /[*?]/.test(name) ? patternOf(name) : undefined;
    const found: Shown[] = [];
    for (let i = 0; i < count; i++) {
      if (!this.#isShown(i)) continue;
      const text = names.name(i);
      if (pattern ? pattern.test(text) : text === name) found.push(this.#symbol(i));
    }
    return found;
  }

  /** The functions that an address lies in: several have one, where they are the same code. */
  #at(address: bigint): Shown[] {
    const { count, names, kind, size } = this.#file.symbols;
    const [low, high] = [Number(address & 0xffffffffn), Number(address >> 32n)];
    const found: Shown[] = [];
    if (high !== KERNEL_HALF) return found;
    for (let i = 0; i < count; i++) {
      if (kind[i] !== KIND_FUNCTION || names.low[i] > low || low >= names.low[i] + size[i]) continue;
      found.push({ ...this.#symbol(i), offset: low - names.low[i] });
    }
    return found;
  }

  #symbol(i: number): Shown {
    const { names, kind, section, size } = this.#file.symbols;
    const hex = (value: number): string => value.toString(16).padStart(8, '0');
    const home = this.#file.kernel.sections[section[i]];
    return {
      address: hex(names.high[i]) + hex(names.low[i]),
      ...(kind[i] === KIND_FUNCTION ? { size: size[i] } : {}),
      type: String.fromCharCode(names.types[i]),
      kind: KINDS[kind[i]],
      ...(kind[i] === KIND_ABSOLUTE ? {} : { section: home.name }),
      name: names.name(i),
    };
  }
}

const ADDRESS = /^0x[0-9a-f]{1,16}$/i;

function patternOf(pattern: string): RegExp {
  const source = pattern
    .replace(/[\\^$.|+(){}[\]]/g, '\\$&')
    .replaceAll('*', '.*')
    .replaceAll('?', '.');
  return new RegExp(`^${source}$`);
}

function lineOf({ address, size, type, section = '-', name, offset }: Shown): string {
  const place = offset === undefined ? name : `${name}+0x${offset.toString(16)}`;
  return `${address} ${String(size ?? '-').padStart(7)} ${type} ${section.padEnd(SECTION)} ${place}`;
}

const SECTION = 11;
/** Lines that are written at once. */
const CHUNK = 5000;

function printLines(lines: readonly string[]): void {
  for (let i = 0; i < lines.length; i += CHUNK) {
    print(`${toTerminal(lines.slice(i, i + CHUNK), 2).join('\n')}\n`);
  }
}

function printSummary(path: string, listing: Listing, json: boolean): void {
  const about = listing.about();
  const kinds = listing.kinds();
  if (json) {
    print(`${JSON.stringify({ file: path, ...about, kinds })}\n`);
    return;
  }
  const total = Object.values(kinds).reduce((sum, n) => sum + n, 0);
  const packed =
    about.packing === undefined ? 'a linked kernel' : `a bzImage, its kernel packed by ${about.packing}`;
  printLines([
    `${path}: ${packed}`,
    `  kallsyms: ${whole(total)} symbols, ${about.kallsyms}`,
    ...Object.entries(kinds).map(([kind, n]) => `  ${whole(n).padStart(9)} ${PLURAL[kind] ?? kind}`),
  ]);
}

const PLURAL: Readonly<Record<string, string>> = {
  function: 'functions',
  label: 'labels inside of functions',
  mark: 'marks of the linker',
  object: 'objects',
  absolute: 'absolute',
};
