// Stacks as the code that an ORC table describes would have left them: the unwinder's job, backwards.
// Used by the tests and the benchmark.

import type { PtRegs, StackArena, UnwindTask } from '../../src/arch/unwinders.ts';
import {
  PT_BP,
  PT_CS,
  PT_DI,
  PT_DX,
  PT_IP,
  PT_R10,
  PT_R13,
  PT_REGS_SIZE,
  PT_SP,
  PT_SS,
  packPtRegs,
} from '../../src/arch/x86_64/pt_regs.ts';
import {
  ORC_REG_BP,
  ORC_REG_BP_INDIRECT,
  ORC_REG_DI,
  ORC_REG_DX,
  ORC_REG_R10,
  ORC_REG_R13,
  ORC_REG_SP,
  ORC_REG_SP_INDIRECT,
} from '../../src/arch/x86_64/unwind/orc_registers.ts';
import {
  ORC_REG_PREV_SP,
  ORC_REG_UNDEFINED,
  ORC_TYPE_CALL,
  ORC_TYPE_REGS,
  ORC_TYPE_REGS_PARTIAL,
  type OrcEntry,
} from '../../src/elf/orc.ts';
import { STACK_HI, stackBegin, THREAD_SIZE } from '../../src/unwind/stack_slots.ts';

export const TEXT_HI = 0xffffffff;

export class TestArena implements StackArena {
  readonly words: Uint32Array;

  constructor(slots: number) {
    this.words = new Uint32Array((slots * THREAD_SIZE) / 4);
  }

  /** Writes a long at an offset from the stack's lowest byte. */
  put(slot: number, offset: number, lo: number, hi: number): void {
    const at = (slot * THREAD_SIZE + offset) / 4;
    this.words[at] = lo;
    this.words[at + 1] = hi;
  }
}

export class TestTask implements UnwindTask {
  stackSlot: number;
  onCpu = 0;
  spLo = 0;

  constructor(slot: number) {
    this.stackSlot = slot;
  }
}

/** One frame: where execution stands in it and what ORC says there. */
export interface FrameSpec {
  /** A return address (ORC is for ip - 1), or where an interrupt hit (ORC is for ip). */
  readonly ip: number;
  readonly entry: OrcEntry;
  /** Locals between the frame's fixed part and the next frame, in longs (where rsp is free). */
  readonly pad?: number;
}

/** What a frame leaves the next inner one: its stack pointer and rbp, the latter an address or any value. */
interface Place {
  sp: number;
  bpLo: number;
  bpHi: number;
}

const WRITTEN_BP_HI = 0xdeadbeef;

/**
 * Lays frames on a stack from the outermost inwards. Offsets are from the stack's lowest byte. `entries` collects
 * what a trace must find, innermost first.
 */
export class StackBuilder {
  readonly arena: TestArena;
  readonly slot: number;
  readonly entries: number[] = [];
  /** Where each of `entries` lies. */
  readonly locations: number[] = [];
  place: Place;
  private last: FrameSpec | undefined;
  private garbage = 0x1000;

  constructor(arena: TestArena, slot: number, top = THREAD_SIZE - PT_REGS_SIZE) {
    this.arena = arena;
    this.slot = slot;
    this.place = { sp: top, bpLo: 0, bpHi: 0 };
  }

  /** Writes the pt_regs of a system call (or of a kernel thread: all zero) at the top of the stack. */
  taskRegs(userMode: boolean): this {
    const regs = THREAD_SIZE - PT_REGS_SIZE;
    for (let offset = 0; offset < PT_REGS_SIZE; offset += 8) this.put(regs + offset, 0, 0);
    if (!userMode) return this;
    this.put(regs + PT_IP, 0xf7e12345, 0x7fff);
    this.put(regs + PT_CS, 0x33, 0);
    this.put(regs + PT_SP, 0xffff1230, 0x7ffd);
    this.put(regs + PT_SS, 0x2b, 0);
    return this;
  }

  /** The code at the outermost end: its registers are at the top of the stack, or it has nothing above it. */
  outermost(spec: FrameSpec): this {
    this.last = spec;
    const { entry } = spec;
    if (entry.type !== ORC_TYPE_CALL) this.place.sp = THREAD_SIZE - PT_REGS_SIZE - entry.spOffset;
    return this;
  }

  /** A frame entered by a call from the one before, which stands at its return address. */
  call(spec: FrameSpec): this {
    const caller = this.last as FrameSpec;
    const cfa = this.place.sp;
    this.putEntry(cfa - 8, caller.ip);
    this.layFrame(cfa, spec);
    this.last = spec;
    return this;
  }

  /**
   * The last frame is interrupted; `spec` is the entry code that saved its registers, with an entry of a REGS
   * type. `extra` sets registers by their pt_regs offset.
   */
  interrupt(
    spec: FrameSpec,
    extra: ReadonlyMap<number, readonly [lo: number, hi: number]> = new Map(),
  ): this {
    const hit = this.last as FrameSpec;
    const regs = (this.place.sp & ~15) - PT_REGS_SIZE;
    for (let offset = 0; offset < PT_REGS_SIZE; offset += 8) this.put(regs + offset, 0x5a5a0000 + offset, 1);
    this.put(regs + PT_CS, 0x10, 0);
    this.put(regs + PT_SS, 0x18, 0);
    this.put(regs + PT_SP, this.address(this.place.sp), STACK_HI);
    this.put(regs + PT_BP, this.place.bpLo, this.place.bpHi);
    for (const [offset, [lo, hi]] of [...this.registersOf(hit), ...extra]) this.put(regs + offset, lo, hi);
    this.putEntry(regs + PT_IP, hit.ip);
    const at = spec.entry.type === ORC_TYPE_REGS_PARTIAL ? regs + PT_IP : regs;
    this.place = { sp: at - spec.entry.spOffset, bpLo: 0x77, bpHi: 0 };
    this.last = spec;
    return this;
  }

  /** The task is switched out: __switch_to_asm's frame below the last one. */
  switchOut(task: TestTask): this {
    const frame = this.place.sp - 56;
    this.put(frame + 40, this.place.bpLo, this.place.bpHi);
    this.putEntry(frame + 48, (this.last as FrameSpec).ip);
    task.spLo = this.address(frame);
    return this;
  }

  /** The registers of the innermost frame, for a walk that begins with registers. */
  regs(): PtRegs {
    const last = this.last as FrameSpec;
    const value = (lo: number, hi: number): bigint => (BigInt(hi >>> 0) << 32n) | BigInt(lo >>> 0);
    const regs = packPtRegs({
      ip: value(last.ip, TEXT_HI),
      sp: value(this.address(this.place.sp), STACK_HI),
      bp: value(this.place.bpLo, this.place.bpHi),
    });
    for (const [offset, [lo, hi]] of this.registersOf(last)) {
      regs[offset / 4] = lo;
      regs[offset / 4 + 1] = hi;
    }
    return regs;
  }

  address(offset: number): number {
    return (stackBegin(this.slot) + offset) >>> 0;
  }

  put(offset: number, lo: number, hi: number): void {
    if (offset < 0) throw new RangeError('the frames do not fit on the stack');
    this.arena.put(this.slot, offset, lo, hi);
  }

  private putEntry(offset: number, ip: number): void {
    this.put(offset, ip, TEXT_HI);
    this.entries.unshift(ip >>> 0);
    this.locations.unshift(offset);
  }

  private cfa = 0;

  /** Places what the frame's entry promises: where the caller's sp and bp are found. */
  private layFrame(cfa: number, { entry, pad = 0 }: FrameSpec): void {
    this.cfa = cfa;
    const caller = this.place;
    const place: Place = { ...caller };
    const { spReg, spOffset, fpReg, fpOffset } = entry;
    let lowest = cfa - 8;
    if (fpReg === ORC_REG_PREV_SP) {
      this.put(cfa + fpOffset, caller.bpLo, caller.bpHi);
      lowest = Math.min(lowest, cfa + fpOffset);
      place.bpLo = this.garbage++;
      place.bpHi = WRITTEN_BP_HI;
    }
    let bp = 0;
    if (spReg === ORC_REG_BP) {
      bp = cfa - spOffset;
    } else if (spReg === ORC_REG_BP_INDIRECT) {
      bp = ((lowest - 16 - Math.abs(spOffset)) & ~15) - Math.abs(fpOffset);
      this.put(bp + spOffset, this.address(cfa), STACK_HI);
      lowest = Math.min(lowest, bp + spOffset);
    } else if (fpReg === ORC_REG_BP) {
      bp = lowest - 8 - Math.abs(fpOffset);
    }
    if (bp !== 0) {
      place.bpLo = this.address(bp);
      place.bpHi = STACK_HI;
      lowest = Math.min(lowest, bp);
    }
    if (fpReg === ORC_REG_BP) {
      this.put(bp + fpOffset, caller.bpLo, caller.bpHi);
      lowest = Math.min(lowest, bp + fpOffset);
    }
    place.sp = spReg === ORC_REG_SP ? cfa - spOffset : lowest - pad * 8;
    if (spReg === ORC_REG_SP_INDIRECT) {
      place.sp -= 8;
      this.put(place.sp, this.address(cfa - spOffset), STACK_HI);
    }
    this.place = place;
  }

  /** The registers that the interrupted frame's entry finds the caller's sp in. */
  private registersOf({ entry }: FrameSpec): [number, [number, number]][] {
    const offset = CFA_REGISTERS.get(entry.spReg);
    return offset === undefined ? [] : [[offset, [this.address(this.cfa), STACK_HI]]];
  }
}

const CFA_REGISTERS = new Map([
  [ORC_REG_R10, PT_R10],
  [ORC_REG_R13, PT_R13],
  [ORC_REG_DI, PT_DI],
  [ORC_REG_DX, PT_DX],
]);

const entry = (spReg: number, spOffset: number, rest: Partial<OrcEntry> = {}): OrcEntry => ({
  spReg,
  spOffset,
  fpReg: ORC_REG_UNDEFINED,
  fpOffset: 0,
  type: ORC_TYPE_CALL,
  end: false,
  ...rest,
});

/** Entries by what they are for. */
export const ORC = {
  sp: (offset: number, fpOffset?: number): OrcEntry =>
    entry(ORC_REG_SP, offset, fpOffset === undefined ? {} : { fpReg: ORC_REG_PREV_SP, fpOffset }),
  bp: (offset = 16): OrcEntry => entry(ORC_REG_BP, offset, { fpReg: ORC_REG_PREV_SP, fpOffset: -16 }),
  drap: (): OrcEntry => entry(ORC_REG_BP_INDIRECT, -8, { fpReg: ORC_REG_BP, fpOffset: 0 }),
  spIndirect: (offset: number): OrcEntry => entry(ORC_REG_SP_INDIRECT, offset),
  register: (reg: number): OrcEntry => entry(reg, 0),
  regs: (offset = 0): OrcEntry => entry(ORC_REG_SP, offset, { type: ORC_TYPE_REGS }),
  iretRegs: (offset = 0): OrcEntry => entry(ORC_REG_SP, offset, { type: ORC_TYPE_REGS_PARTIAL }),
  end: (): OrcEntry => entry(ORC_REG_UNDEFINED, 0, { end: true }),
  undefined: (): OrcEntry => entry(ORC_REG_UNDEFINED, 0),
} as const;
