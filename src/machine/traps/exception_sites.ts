// What is where an exception happened: a site that is being changed, an instruction with a fix-up, a WARN() or BUG(), a
// program of user space. Mirrors poke_int3_handler(), fixup_exception(), find_bug() in what it asks whom.

import type { Table } from '../../arch/module_text.ts';
import { ptRegsOffset } from '../../arch/pt_regs.ts';
import type { ExceptionEntry } from '../../arch/traps.ts';
import { perImage } from '../../asm/per_image.ts';
import type { Ftrace } from '../../ftrace/ftrace.ts';
import { type Addr, lo32 } from '../../guest/addr.ts';
import { PAGE_SIZE } from '../../guest/memory.ts';
import type { KernelCore } from '../../kernel/core.ts';
import {
  bugAddr,
  findBug,
  moduleFindBug,
  readBug,
  searchExtable,
  searchModuleExtable,
} from '../../module/extable.ts';
import type { ModuleList } from '../../module/modules.ts';
import type { ShadowStacks } from '../../unwind/shadow.ts';
import { kernelSymbols } from '../boot/boot.ts';
import type { KernelImage } from '../boot/image.ts';
import { isJoined, ownSymbols } from '../native/join.ts';
import type { NativeKernel } from '../native/native_kernel.ts';
import { kernelLine } from './kernel_lines.ts';

/** A struct bug_entry: the WARN() or BUG() that an undefined instruction stands for. */
export interface BugSite {
  readonly file?: string;
  readonly line: number;
  /** BUGFLAG_ bits, and the taint from bit 8 on. */
  readonly flags: number;
  /** Where the flags lie. */
  readonly flagsAt: Addr;
  /** The message that comes before it, in kernels that have one there. */
  readonly format?: Addr;
}

/** Those of our own text. */
const ownTables = perImage((image: KernelImage) => {
  const own = isJoined(image) ? ownSymbols(image) : kernelSymbols(image.asm, () => true);
  const tables = (prefix: string): Table[] => own.filter(({ name }) => name.startsWith(prefix));
  return { bugs: tables('__bug_table_'), extables: tables('__ex_table_') };
});

export class ExceptionSites {
  readonly #core: KernelCore;
  readonly #modules: ModuleList;
  readonly #ftrace: Ftrace;
  readonly #shadow: ShadowStacks | undefined;
  readonly #spAt: bigint;
  readonly #ownBugs: readonly Table[];
  readonly #native: NativeKernel | undefined;
  readonly #imageExtables: readonly Table[];
  readonly #user: { readonly addr: Addr; readonly size: number } | undefined;

  constructor(
    core: KernelCore,
    joined: KernelImage,
    modules: ModuleList,
    ftrace: Ftrace,
    shadow: ShadowStacks | undefined,
  ) {
    const { asm: image, real } = joined;
    this.#core = core;
    this.#modules = modules;
    this.#ftrace = ftrace;
    this.#shadow = shadow;
    const { ptRegs } = core.arch;
    this.#spAt = BigInt(ptRegsOffset(ptRegs, ptRegs.sp));
    const { bugs, extables } = ownTables(joined);
    this.#ownBugs = bugs;
    this.#native = real?.native;
    this.#imageExtables = [...extables, ...(real ? [real.native.extable] : [])];
    this.#user = image.sections.find((s) => s.name === '.user.text');
  }

  /** poke_int3_handler(): true when the int3 was of a site that is being changed. */
  pokeBreakpoint(regs: Addr): boolean {
    const { mem } = this.#core;
    const sp = mem.readU64(regs + this.#spAt);
    if (!this.#ftrace.textPoke.breakpointHandler(regs)) return false;
    const pushed = sp - mem.readU64(regs + this.#spAt) === 8n;
    this.#shadow?.emulated(lo32(regs), pushed ? lo32(sp - 8n) : undefined);
    return true;
  }

  searchExceptionTables(pc: Addr): ExceptionEntry | undefined {
    const mod = this.#modules.moduleAddress(pc);
    if (mod) return searchModuleExtable(this.#core, mod, pc);
    return this.#imageExtables.map((table) => searchExtable(this.#core, table, pc)).find((entry) => entry);
  }

  findBug(addr: Addr): BugSite | undefined {
    const mod = this.#modules.moduleAddress(addr);
    if (mod) return moduleFindBug(this.#core, mod, addr);
    const own = this.#ownBugs.map((table) => findBug(this.#core, table, addr)).find((bug) => bug);
    const native = this.#native;
    if (!native) return own;
    if (!own) return findBug(this.#core, native.bugs, addr);
    return { ...own, ...kernelLine(this.#core, native, this.#ownBugs, addr) };
  }

  /** The WARN() of a struct bug_entry, and where it is. @throws GuestMemoryError for what is none */
  bugOf(entry: Addr): { readonly bug: BugSite; readonly pc: Addr } {
    return { bug: readBug(this.#core, entry), pc: bugAddr(this.#core, entry) };
  }

  /** The mapping of user text that an address is in. */
  userText(addr: Addr): { readonly start: Addr; readonly size: number } | undefined {
    const user = this.#user;
    if (!user || addr < user.addr || addr >= user.addr + BigInt(user.size)) return undefined;
    return { start: user.addr, size: Math.ceil(user.size / PAGE_SIZE) * PAGE_SIZE };
  }
}
