// Which object of a real kernel a fault is about: what a native function went by is still as the kernel's file has it, so that
// nothing of this machine has set it up.
//
// Invariant: an object is named only where the code says that the pointer came from it, and memory says that nobody has
// written to it.

import type { FunctionText, Origin, OriginReader } from '../../arch/origins.ts';
import { readPtReg } from '../../arch/pt_regs.ts';
import type { PtRegs } from '../../arch/unwinders.ts';
import { type Addr, lo32 } from '../../guest/addr.ts';
import { sameBytes } from '../../guest/bytes.ts';
import type { KernelCore } from '../../kernel/core.ts';
import type { ShadowStacks } from '../../unwind/shadow.ts';
import type { RealKernel } from '../boot/image.ts';
import { high } from '../native/native_kernel.ts';

/** Callers that an argument is followed to. */
const MOST_CALLERS = 8;
const POINTER = 8;
/** Longer ones are not gone over. */
const MOST_BYTES = 1 << 16;

export class UnsetObject {
  readonly #core: KernelCore;
  readonly #real: RealKernel;
  readonly #origins: OriginReader;
  readonly #shadow: ShadowStacks;

  constructor(core: KernelCore, real: RealKernel, origins: OriginReader, shadow: ShadowStacks) {
    this.#core = core;
    this.#real = real;
    this.#origins = origins;
    this.#shadow = shadow;
  }

  /** A line that names it; undefined where the code does not tell, or where it is something else. */
  explain(cpu: number, regs: PtRegs): string | undefined {
    const { ptRegs, code } = this.#core.arch;
    if (!code) return undefined;
    const pc = lo32(readPtReg(ptRegs, regs, ptRegs.pc));
    const callers = this.#callers(cpu, lo32(readPtReg(ptRegs, regs, ptRegs.sp)));
    const func = this.#functionAt(pc);
    let at = pc;
    let origin = func && this.#origins.addressed(func, pc);
    if (!func) {
      // What was called is no code.
      at = callers.shift() ?? 0;
      const caller = this.#functionAt(at - 1);
      origin = caller && this.#origins.callee(caller, at);
    }
    const place = this.#core.sym(high(at));
    for (let i = 0; i < MOST_CALLERS && origin?.kind === 'argument'; i++) {
      const returnsTo = callers.shift() ?? 0;
      const caller = this.#functionAt(returnsTo - 1);
      origin = caller && this.#origins.argument(caller, returnsTo, origin.index);
    }
    const name = origin?.kind === 'object' ? this.#unset(cpu, origin) : undefined;
    return name === undefined
      ? undefined
      : `klpemu: ${place} goes by ${name}: this machine does not set that up`;
  }

  /** Low halves of return addresses, the innermost first. */
  #callers(cpu: number, sp: number): number[] {
    const { stackSlot } = this.#core.current(cpu);
    return this.#shadow
      .frames(stackSlot, sp)
      .flatMap(({ address, kind }) => (kind === 'call' ? [address >>> 0] : []));
  }

  #functionAt(address: number): FunctionText | undefined {
    const { symbols, mem } = this.#core;
    const found = symbols.lookup(high(address));
    if (!found || found.size === 0 || found.size > MOST_BYTES || !/^[tw]$/i.test(found.type))
      return undefined;
    if (!mem.isMapped(found.addr, found.size)) return undefined;
    return { bytes: mem.readBytes(found.addr, found.size), start: lo32(found.addr) };
  }

  /** Its name, where what was read there is what the file has. */
  #unset(cpu: number, { address, isPerCpu }: Extract<Origin, { kind: 'object' }>): string | undefined {
    const { mem, symbols, percpu } = this.#core;
    const { percpuStart } = this.#real.native;
    const symbol = isPerCpu && percpuStart === 0n ? BigInt(address) : high(address);
    const now = isPerCpu ? BigInt.asUintN(64, percpu.base[cpu] + symbol) : symbol;
    const found = symbols.lookup(symbol);
    if (!found || found.module !== undefined || !mem.isMapped(now, POINTER)) return undefined;
    // What the machine has of its own is what it set up.
    if (this.#real.hosting.places.has(found.name) || this.#real.hosting.ours.has(found.name))
      return undefined;
    const then = isPerCpu ? this.#areaBytes(Number(symbol - percpuStart)) : this.#fileBytes(symbol);
    if (!then || !sameBytes(mem.readBytes(now, POINTER), then)) return undefined;
    return found.offset === 0 ? found.name : `${found.name}+0x${found.offset.toString(16)}`;
  }

  #fileBytes(addr: Addr): Uint8Array | undefined {
    const segment = this.#real.native.segments.find(
      ({ start, size }) => addr >= start && addr < start + BigInt(size),
    );
    return segment && padded(segment.content.bytes(), Number(addr - segment.start));
  }

  #areaBytes(offset: number): Uint8Array | undefined {
    const { percpu } = this.#real.native;
    return offset >= 0 && offset < percpu.length ? padded(percpu, offset) : undefined;
  }
}

/** Behind the bytes are zeroes. */
function padded(bytes: Uint8Array, from: number): Uint8Array {
  const some = new Uint8Array(POINTER);
  some.set(bytes.subarray(from, from + POINTER));
  return some;
}
