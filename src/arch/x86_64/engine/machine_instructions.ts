// Instructions that read or change the machine beside registers, flags and memory, or that ask a device: they leave the
// core, are done here one at a time, and the core goes on behind them. Intel SDM volume 2.
//
// Nothing of the machine depends on what they set but segment bases and the address space (registers.ts says which registers there are). There is
// no device: a port reads as ones, the bus with nobody on it, and what is written to one is lost.

import { decodeAt, Insn, MAX_LENGTH, REX_W } from '../../../isa/decoder.ts';
import { operandAddress } from '../../../isa/operand.ts';
import { CR4 } from '../control_registers.ts';
import { CPL, FS_BASE, GS_BASE, REGS, RFLAGS } from '../core/layout.ts';
import type { CoreContext } from './core_context.ts';
import { cpuid } from './cpuid.ts';
import type { MachineMemory } from './machine_memory.ts';
import { CONTROL, MSR_TSC, MSRS, type Register, type Written } from './registers.ts';
import { descriptorOf, isLoadable, isReadable, isStack, isWritable } from './segments.ts';

/** What the engine lends for one instruction. */
interface MachineParts {
  readonly context: CoreContext;
  readonly memory: MachineMemory;
  /** Instructions executed by this engine: the time stamp counter. */
  readonly executed: bigint;
}

/** How it came out: done, so that RIP is behind it (or where it says); or an exception, nothing being changed. */
export type Outcome = 'done' | 'undefined' | 'protection' | 'page fault';
type Execute = (machine: MachineInstructions, insn: Insn, parts: MachineParts) => Outcome;

const [RAX, RCX, RDX, RBX, RSP, RSI, RDI, RIP] = [0, 1, 2, 3, 4, 6, 7, 16];
const LOW = 0xffffffffn;
const DIRECTION = 0x400n;
const ZERO_FLAG = 0x40n;

export class MachineInstructions {
  readonly #written: Written = new Map();
  readonly #insn = new Insn();
  #isApart = false;

  /** Executes the instruction at RIP. */
  execute(parts: MachineParts): Outcome {
    const { context, memory } = parts;
    const insn = decodeAt(memory.fetch(context.regs[RIP], MAX_LENGTH), 0, 0, this.#insn);
    const outcome = this.perform(insn, parts);
    if (outcome === 'done' && !this.#again)
      context.regs[RIP] = BigInt.asUintN(64, context.regs[RIP] + BigInt(insn.length));
    return outcome;
  }
  /** There is another repetition of the string instruction that was the last. */
  get isRepeated(): boolean {
    return this.#again;
  }
  #again = false;

  /** Executes an instruction that is decoded; RIP stays at it. */
  perform(insn: Insn, parts: MachineParts): Outcome {
    this.#again = false;
    const execute = insn.length === 0 ? undefined : BY_OPCODE.get(insn.opcode);
    return execute ? execute(this, insn, parts) : 'undefined';
  }

  /** The CPU has SMEP and SMAP, and they are on. */
  get isApart(): boolean {
    return this.#isApart;
  }
  keepApart(): void {
    this.#isApart = true;
    this.#written.set(CONTROL[4], BigInt(CR4.PROTECTED));
  }

  read(register: Register, { context }: MachineParts): bigint {
    if (register.cell !== undefined) return context.cell(register.cell);
    return this.#written.get(register) ?? register.value;
  }
  /** @returns whether it may be written so */
  write(register: Register, value: bigint, { context }: MachineParts): boolean {
    if (register.cell !== undefined) context.setCell(register.cell, value);
    else {
      const { writable, value: before } = register;
      if (writable !== undefined && (value ^ before) & ~writable) return false;
      this.#written.set(register, value);
    }
    return true;
  }

  /** ins and outs: one unit, and whether there is another under a rep prefix. */
  device(insn: Insn, parts: MachineParts): Outcome {
    const { context, memory } = parts;
    const { regs } = context;
    const bits = insn.addr32 ? 32 : 64;
    const left = BigInt.asUintN(bits, regs[RCX]);
    this.#again = insn.rep !== 0 && left !== 0n;
    if (insn.rep !== 0 && !this.#again) return 'done';
    const size = insn.opcode & 1 ? (insn.opsize16 ? 2 : 4) : 1;
    const isInput = insn.opcode < 0x6e;
    const pointer = isInput ? RDI : RSI;
    const at = BigInt.asUintN(bits, regs[pointer]);
    const ones = (1n << BigInt(8 * size)) - 1n;
    const isAccessed = isInput
      ? memory.write(at, size, ones)
      : memory.read(inSegment(insn, at, context), size) !== undefined;
    if (!isAccessed) return 'page fault';
    const down = (context.cell(RFLAGS - REGS) & DIRECTION) !== 0n;
    regs[pointer] = BigInt.asUintN(bits, at + BigInt(down ? -size : size));
    if (insn.rep !== 0) regs[RCX] = left - 1n;
    return 'done';
  }
}

const privilegeOf = ({ context }: MachineParts): number => Number(context.cell(CPL - REGS));
const isKernel = (parts: MachineParts): boolean => privilegeOf(parts) === 0;

/** Of the kernel alone. */
const privileged =
  (execute: Execute): Execute =>
  (machine, insn, parts) =>
    isKernel(parts) ? execute(machine, insn, parts) : 'protection';

/** Address of the memory operand, segment and all. */
function addressOf(insn: Insn, { context }: MachineParts): bigint {
  const { regs } = context;
  const at = operandAddress(insn, regs[RIP], (n) => regs[n]);
  return inSegment(insn, at, context);
}
function inSegment(insn: Insn, at: bigint, context: CoreContext): bigint {
  const cut = insn.addr32 ? BigInt.asUintN(32, at) : at;
  const base = insn.segment === 0x64 ? FS_BASE : insn.segment === 0x65 ? GS_BASE : undefined;
  return BigInt.asUintN(64, base === undefined ? cut : cut + context.cell(base - REGS));
}

const readMemory = (insn: Insn, size: number, parts: MachineParts): bigint | undefined =>
  parts.memory.read(addressOf(insn, parts), size);
const writeMemory = (insn: Insn, size: number, value: bigint, parts: MachineParts): Outcome =>
  parts.memory.write(addressOf(insn, parts), size, value) ? 'done' : 'page fault';

/** Size in bytes of a register operand that selectors and the like are written to. */
const registerSize = (insn: Insn): number => (insn.rex & REX_W ? 8 : insn.opsize16 ? 2 : 4);

function setRegister(regs: BigUint64Array, register: number, size: number, value: bigint): void {
  if (size === 2) regs[register] = (regs[register] & ~0xffffn) | (value & 0xffffn);
  else regs[register] = size === 4 ? value & LOW : value;
}

/** A value of 16 bits that goes to a register, or to memory as 16 bits. */
function give(insn: Insn, value: bigint, parts: MachineParts): Outcome {
  if (insn.mod !== 3) return writeMemory(insn, 2, value, parts);
  setRegister(parts.context.regs, insn.rm, registerSize(insn), value);
  return 'done';
}
/** A selector from a register or memory; undefined after a page fault. */
const take = (insn: Insn, parts: MachineParts): bigint | undefined =>
  insn.mod === 3 ? parts.context.regs[insn.rm] & 0xffffn : readMemory(insn, 2, parts);

const input: Execute = (_, insn, { context }) => {
  const size = insn.opcode & 1 ? (insn.opsize16 ? 2 : 4) : 1;
  const ones = (1n << BigInt(8 * size)) - 1n;
  const { regs } = context;
  regs[RAX] = size === 4 ? ones : (regs[RAX] & ~ones) | ones;
  return 'done';
};
const nothing: Execute = () => 'done';

/** Selectors that segment registers hold: flat segments, of which only the privilege counts. */
const selectorOf = (register: number, parts: MachineParts): bigint => {
  const kernel = isKernel(parts);
  if (register === 1) return kernel ? 0x10n : 0x33n;
  return register === 2 ? (kernel ? 0x18n : 0x2bn) : 0n;
};
const readSegment: Execute = (_, insn, parts) =>
  (insn.reg & 7) > 5 ? 'undefined' : give(insn, selectorOf(insn.reg & 7, parts), parts);
const writeSegment: Execute = (_, insn, parts) => {
  const register = insn.reg & 7;
  if (register === 1 || register > 5) return 'undefined';
  const selector = take(insn, parts);
  return selector === undefined ? 'page fault' : loadSegment(register, selector, parts);
};
function loadSegment(register: number, selector: bigint, parts: MachineParts): Outcome {
  const mayLoad = register === 2 ? isStack : isLoadable;
  if (!mayLoad(selector, privilegeOf(parts))) return 'protection';
  // fs and gs: a flat segment begins at 0
  if (register > 3) parts.context.setCell((register === 4 ? FS_BASE : GS_BASE) - REGS, 0n);
  return 'done';
}

/** 0f a1 and 0f a9: pop of fs and gs. */
const popSegment: Execute = (_, insn, parts) => {
  const { regs } = parts.context;
  const size = insn.opsize16 && !(insn.rex & REX_W) ? 2 : 8;
  const popped = parts.memory.read(regs[RSP], size);
  if (popped === undefined) return 'page fault';
  const outcome = loadSegment(insn.opcode === 0x0fa1 ? 4 : 5, popped & 0xffffn, parts);
  if (outcome === 'done') regs[RSP] = BigInt.asUintN(64, regs[RSP] + BigInt(size));
  return outcome;
};

/** 0f b2 lss, 0f b4 lfs, 0f b5 lgs: an offset, and a selector behind it. */
const loadFarPointer: Execute = (_, insn, parts) => {
  if (insn.mod === 3) return 'undefined';
  const size = farSize(insn);
  const at = addressOf(insn, parts);
  const offset = parts.memory.read(at, size);
  const selector = offset === undefined ? offset : parts.memory.read(at + BigInt(size), 2);
  if (offset === undefined || selector === undefined) return 'page fault';
  const outcome = loadSegment(insn.opcode & 7, selector, parts);
  if (outcome === 'done') setRegister(parts.context.regs, insn.reg, size, offset);
  return outcome;
};

/** 0f 00: sldt str lldt ltr verr verw */
const group6: Execute = (_, insn, parts) => {
  const ext = insn.reg & 7;
  if (ext < 2) return isKernel(parts) ? give(insn, ext === 0 ? 0n : 0x40n, parts) : 'protection';
  if (ext > 5) return 'undefined';
  if (ext < 4 && !isKernel(parts)) return 'protection';
  const selector = take(insn, parts);
  if (selector === undefined) return 'page fault';
  // lldt of anything but nothing, ltr of anything: the GDT has no such descriptor
  if (ext < 4) return ext === 2 && selector < 4n ? 'done' : 'protection';
  setZero(parts, (ext === 4 ? isReadable : isWritable)(selector, privilegeOf(parts)));
  return 'done';
};
function setZero({ context }: MachineParts, zero: boolean): void {
  const flags = context.cell(RFLAGS - REGS);
  context.setCell(RFLAGS - REGS, zero ? flags | ZERO_FLAG : flags & ~ZERO_FLAG);
}

/** 0f 02 lar, 0f 03 lsl */
const ofSelector: Execute = (_, insn, parts) => {
  const selector = take(insn, parts);
  if (selector === undefined) return 'page fault';
  const found = descriptorOf(selector, privilegeOf(parts));
  setZero(parts, found !== undefined);
  if (!found) return 'done';
  const value = insn.opcode === 0x0f02 ? found.rights : found.limit;
  setRegister(parts.context.regs, insn.reg, registerSize(insn), value);
  return 'done';
};

/** 0f 01: sgdt sidt lgdt lidt smsw lmsw invlpg; rdtscp */
const group7: Execute = (machine, insn, parts) => {
  const ext = insn.reg & 7;
  if (ext === 4) {
    return isKernel(parts) ? give(insn, machine.read(CONTROL[0], parts) & 0xffffn, parts) : 'protection';
  }
  if (insn.mod !== 3) {
    if (ext === 5) return 'undefined';
    if (!isKernel(parts)) return 'protection';
    if (ext < 2) return writeMemory(insn, 10, 0n, parts);
    if (ext === 7) return 'done'; // invlpg
    return readMemory(insn, ext === 6 ? 2 : 10, parts) === undefined ? 'page fault' : 'done';
  }
  switch ((ext << 3) | (insn.rm & 7)) {
    case 0o71:
      return rdtscp(machine, insn, parts);
  }
  if (ext === 6) return isKernel(parts) ? 'done' : 'protection'; // lmsw
  // monitor mwait xgetbv xsetbv: not told of by cpuid
  return 'undefined';
};

const rdtsc: Execute = (_, __, { context, executed }) => {
  context.regs[RAX] = executed & LOW;
  context.regs[RDX] = (executed >> 32n) & LOW;
  return 'done';
};
const TSC_AUX = MSRS.get(0xc0000103) as Register;
const rdtscp: Execute = (machine, insn, parts) => {
  parts.context.regs[RCX] = machine.read(TSC_AUX, parts) & LOW;
  return rdtsc(machine, insn, parts);
};

const rdmsr: Execute = (machine, insn, parts) => {
  const { regs } = parts.context;
  const number = Number(regs[RCX] & LOW);
  if (number === MSR_TSC) return rdtsc(machine, insn, parts);
  const register = MSRS.get(number);
  if (!register) return 'protection';
  const value = machine.read(register, parts);
  regs[RAX] = value & LOW;
  regs[RDX] = value >> 32n;
  return 'done';
};
const wrmsr: Execute = (machine, _, parts) => {
  const { regs } = parts.context;
  const number = Number(regs[RCX] & LOW);
  if (number === MSR_TSC) return 'done';
  const register = MSRS.get(number);
  const value = ((regs[RDX] & LOW) << 32n) | (regs[RAX] & LOW);
  return register && machine.write(register, value, parts) ? 'done' : 'protection';
};

/** 0f 20 and 0f 22; REX.R and lock tell 8 from 0. */
const control: Execute = (machine, insn, parts) => {
  const register = CONTROL[insn.reg];
  if (!register) return 'undefined';
  const { regs } = parts.context;
  if (insn.opcode === 0x0f20) {
    regs[insn.rm] = machine.read(register, parts);
    return 'done';
  }
  return machine.write(register, regs[insn.rm], parts) ? 'done' : 'protection';
};

const identify: Execute = (machine, _, { context: { regs } }) => {
  const leaf = cpuid(Number(regs[RAX] & LOW), Number(regs[RCX] & LOW), machine.isApart);
  [RAX, RBX, RCX, RDX].forEach((register, i) => {
    regs[register] = BigInt(leaf[i] >>> 0);
  });
  return 'done';
};

const ownCode = (parts: MachineParts): bigint => (isKernel(parts) ? 0x10n : 0x33n);
/** Whether a return may go to a segment: that of its own privilege, and of 64 bits. */
const isOwnCode = (selector: bigint, parts: MachineParts): boolean => selector === ownCode(parts);
/** And a call or jump: it may ask for more privilege, which it does not get. */
const isOwnCodeToCall = (selector: bigint, parts: MachineParts): boolean =>
  selector <= ownCode(parts) && selector >> 2n === ownCode(parts) >> 2n;
const isCanonical = (addr: bigint): boolean => BigInt.asUintN(64, BigInt.asIntN(48, addr)) === addr;

/** Bytes of an offset: 8 with REX.W, else 4 or 2. */
const farSize = (insn: Insn): number => (insn.rex & REX_W ? 8 : insn.opsize16 ? 2 : 4);

/** ca cb: the offset and the selector from the stack. */
const farReturn: Execute = (_, insn, parts) => {
  const { regs } = parts.context;
  const size = farSize(insn);
  const rip = parts.memory.read(regs[RSP], size);
  const selector = rip === undefined ? rip : parts.memory.read(regs[RSP] + BigInt(size), 2);
  if (rip === undefined || selector === undefined) return 'page fault';
  if (!isOwnCode(selector, parts) || !isCanonical(rip)) return 'protection';
  const dropped = insn.opcode === 0xca ? insn.imm & 0xffff : 0;
  regs[RSP] = BigInt.asUintN(64, regs[RSP] + BigInt(2 * size + dropped));
  // The engine adds the instruction's length.
  regs[RIP] = BigInt.asUintN(64, rip - BigInt(insn.length));
  return 'done';
};

/** ff /5 and /3: the offset and the selector from memory. */
const farBranch: Execute = (_, insn, parts) => {
  const { context, memory } = parts;
  const { regs } = context;
  const size = farSize(insn);
  const at = addressOf(insn, parts);
  const rip = memory.read(at, size);
  const selector = rip === undefined ? rip : memory.read(at + BigInt(size), 2);
  if (rip === undefined || selector === undefined) return 'page fault';
  if (!isOwnCodeToCall(selector, parts) || !isCanonical(rip)) return 'protection';
  if ((insn.reg & 7) === 3) {
    const back = BigInt.asUintN(8 * size, regs[RIP] + BigInt(insn.length));
    const frame = back | (ownCode(parts) << BigInt(8 * size));
    if (!memory.write(regs[RSP] - BigInt(2 * size), 2 * size, frame)) return 'page fault';
    regs[RSP] -= BigInt(2 * size);
  }
  regs[RIP] = BigInt.asUintN(64, rip - BigInt(insn.length));
  return 'done';
};

/** By opcode. */
const ROWS: readonly (readonly [from: number, to: number, execute: Execute])[] = [
  [0x6c, 0x6f, privileged((machine, insn, parts) => machine.device(insn, parts))],
  [0x8c, 0x8c, readSegment],
  [0x8e, 0x8e, writeSegment],
  [0xca, 0xcb, farReturn],
  [0xe4, 0xe5, privileged(input)],
  [0xe6, 0xe7, privileged(nothing)], // out
  [0xec, 0xed, privileged(input)],
  [0xee, 0xef, privileged(nothing)], // out
  [0xff, 0xff, farBranch],
  [0x0f00, 0x0f00, group6],
  [0x0f01, 0x0f01, group7],
  [0x0f02, 0x0f03, ofSelector],
  [0x0f06, 0x0f06, privileged(nothing)], // clts
  [0x0f20, 0x0f20, privileged(control)],
  [0x0f22, 0x0f22, privileged(control)],
  [0x0f30, 0x0f30, privileged(wrmsr)],
  [0x0f31, 0x0f31, rdtsc],
  [0x0f32, 0x0f32, privileged(rdmsr)],
  [0x0f33, 0x0f33, privileged(rdtsc)], // rdpmc: no counter but time
  [0x0fa1, 0x0fa1, popSegment],
  [0x0fa2, 0x0fa2, identify],
  [0x0fa9, 0x0fa9, popSegment],
  [0x0fb2, 0x0fb2, loadFarPointer],
  [0x0fb4, 0x0fb5, loadFarPointer],
];
const BY_OPCODE: ReadonlyMap<number, Execute> = new Map(
  ROWS.flatMap(([from, to, execute]) =>
    Array.from({ length: to - from + 1 }, (_, i) => [from + i, execute] as const),
  ),
);
