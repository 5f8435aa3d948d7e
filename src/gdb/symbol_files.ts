// The files that a debugger takes names and unwind information from: one for the image, one for each module that is loaded,
// and one for each trampoline of ftrace. They are made of what the machine knows at that moment.

import type { DebugPort } from '../arch/debug.ts';
import { fromHalves, hex16, TEXT_HI } from '../guest/addr.ts';
import { USER_TEXT_BASE } from '../guest/windows.ts';
import type { KernelSymbol } from '../kernel/kallsyms.ts';
import type { Machine } from '../machine/machine.ts';
import type { Text } from '../unwind/orc_lookup.ts';
import { debugFrame, type FrameText } from './debug_frame.ts';
import { type LinkedSection, linkedElf } from './linked_elf.ts';

/** Under which the debugger asks for it. */
export const IMAGE_FILE = '/klpemu/vmlinux';
/** What the texts of the image are called (boot.ts). */
const IMAGE = 'vmlinux';

/** Something that comes and goes. */
interface Library {
  readonly file: string;
  readonly module?: string;
  readonly texts: readonly Text[];
}

export function libraries(machine: Machine): Library[] {
  const byModule = new Map<string, Text[]>();
  const found: Library[] = [];
  for (const text of machine.inspect.traces.lookup.texts()) {
    if (text.name === IMAGE) continue;
    const { name, start, template } = text;
    const at = hex16(fromHalves(TEXT_HI, start));
    if (template !== undefined) found.push({ file: `/klpemu/${at}/ftrace_trampoline`, texts: [text] });
    else byModule.set(name, [...(byModule.get(name) ?? []), text]);
  }
  for (const [module, texts] of byModule) {
    texts.sort((a, b) => a.start - b.start);
    const at = hex16(fromHalves(TEXT_HI, texts[0].start));
    found.push({ file: `/klpemu/${at}/${module}.ko`, module, texts });
  }
  return found.sort((a, b) => a.texts[0].start - b.texts[0].start);
}

export class SymbolFiles {
  readonly #machine: Machine;
  readonly #port: DebugPort;

  constructor(machine: Machine, port: DebugPort) {
    this.#machine = machine;
    this.#port = port;
  }

  /** undefined: there is none of that name now. */
  read(file: string): Uint8Array | undefined {
    if (file === IMAGE_FILE) return this.#image();
    const library = libraries(this.#machine).find((one) => one.file === file);
    return library && this.#library(library);
  }

  /** Where the segments of a library's file are. */
  segments(library: Library): bigint[] {
    return this.#sections(library).map(({ addr }) => addr);
  }

  #image(): Uint8Array {
    const { core, traces } = this.#machine.inspect;
    const texts = [...traces.lookup.texts()].filter(({ name }) => name === IMAGE);
    const symbols = [...core.symbols.all()].filter(
      (symbol) => symbol.module === undefined && symbol.addr >= fromHalves(TEXT_HI, 0),
    );
    const sections = withData(texts, symbols);
    const window = core.mem.windows().find(({ hi, lo }) => fromHalves(hi, lo) === USER_TEXT_BASE);
    const users = [USER_TEXT_BASE, USER_TEXT_BASE + BigInt(window?.span ?? 1)] as const;
    const programs = [...this.#machine.inspect.users.text].map(
      ([name, addr]): KernelSymbol => ({ name: `user:${name}`, addr, size: 0, type: 't' }),
    );
    const user = { name: '.user.text', addr: users[0], size: Number(users[1] - users[0]), text: true };
    const frames = debugFrame(this.#port, texts.map(frameText), users);
    return linkedElf(core.arch.elf.number, 'program', [user, ...sections], [...symbols, ...programs], frames);
  }

  #library(library: Library): Uint8Array {
    const { arch } = this.#machine.inspect.core;
    const { lookup } = this.#machine.inspect.traces;
    const texts = library.texts.map((text): FrameText => {
      if (text.template === undefined) return frameText(text);
      lookup.find(text.template);
      return { start: text.start, size: text.size, orc: lookup.hit, from: text.template };
    });
    const frames = debugFrame(this.#port, texts);
    return linkedElf(arch.elf.number, 'library', this.#sections(library), this.#symbols(library), frames);
  }

  #sections(library: Library): LinkedSection[] {
    return withData(library.texts, this.#symbols(library));
  }

  #symbols({ module, texts }: Library): KernelSymbol[] {
    const { core } = this.#machine.inspect;
    // Absolute symbols and per-CPU variables have no place in memory, undefined ones are somebody else's.
    if (module !== undefined)
      return [...core.symbols.all()].filter(
        ({ module: owner, addr, type }) =>
          owner === module && addr >= fromHalves(TEXT_HI, 0) && type.toLowerCase() !== 'u',
      );
    const [{ start, size, template }] = texts;
    const name = core.symbols.nameOf(fromHalves(TEXT_HI, template ?? start));
    const addr = fromHalves(TEXT_HI, start);
    return [{ name: `ftrace_trampoline${name ? `.${name}` : ''}`, addr, size, type: 't' }];
  }
}

const frameText = ({ start, size, orc }: Text): FrameText => ({ start, size, ...(orc ? { orc } : {}) });

/** The texts, and between them what symbols of data cover. */
function withData(texts: readonly Text[], symbols: readonly KernelSymbol[]): LinkedSection[] {
  const sections = texts.map(({ start, size }, i): LinkedSection => {
    const name = i === 0 ? '.text' : `.text.${i}`;
    return { name, addr: fromHalves(TEXT_HI, start), size, text: true };
  });
  const isText = (addr: bigint): boolean =>
    sections.some((s) => addr >= s.addr && addr < s.addr + BigInt(s.size));
  const data = symbols.filter(({ addr }) => !isText(addr)).sort((a, b) => (a.addr < b.addr ? -1 : 1));
  let open: { from: bigint; to: bigint } | undefined;
  const pieces: { from: bigint; to: bigint }[] = [];
  for (const { addr, size } of data) {
    const next = sections.find((s) => open !== undefined && s.addr >= open.from && s.addr < addr);
    const end = addr + BigInt(Math.max(size, 1));
    if (open === undefined || next !== undefined || addr - open.to > FAR) {
      open = { from: addr, to: end };
      pieces.push(open);
    } else if (end > open.to) open.to = end;
  }
  const ofData = pieces.map(({ from, to }, i): LinkedSection => {
    const behind = sections.filter((s) => s.addr >= from).map((s) => s.addr);
    const end = behind.reduce((least, addr) => (addr < least ? addr : least), to);
    return { name: i === 0 ? '.data' : `.data.${i}`, addr: from, size: Number(end - from), text: false };
  });
  return [...sections, ...ofData].sort((a, b) => (a.addr < b.addr ? -1 : 1));
}

/** Of symbols that far from each other nothing lies between them. */
const FAR = 1n << 24n;
