// The CPU port on Unicorn 2, the native library, through koffi. The only file that knows either.
//
// What it relies on, beyond the API (each checked when an engine is opened, never guessed):
// - the engine's instruction counter is a word of its structure, found by calibration, so that a run
//   that ends early is counted exactly;
// - a saved context holds the general registers, RIP and RFLAGS in one block, found by their values,
//   so that registers are read and written as array elements;
// - uc_emu_stop has the signature of a syscall hook, so it is the hook: no callback into JavaScript.

import koffi from 'koffi';
import { type Addr, hi32, lo32, STACK_HI, STACK_SLOT, THREAD_SIZE } from './addr.ts';
import { type CpuContext, type Engine, EngineError, REG, type Stop } from './engine.ts';
import { PAGE_SIZE, PROT_EXEC, type SharedAllocator } from './memory.ts';
import { findUnicornLibrary } from './unicorn_library.ts';

const UC_ARCH_X86 = 4;
const UC_MODE_64 = 1 << 3;
const UC_HOOK_INSN = 1 << 1;
const UC_HOOK_MEM_INVALID = 0x3f0;
const UC_X86_INS_SYSCALL = 699;
// uc_x86_reg
const UC_X86_REG = { CS: 11, SS: 49, DS: 17, ES: 28, GDTR: 243, GS_BASE: 251 } as const;
const GPR = [35, 38, 40, 37, 44, 36, 43, 39, 106, 107, 108, 109, 110, 111, 112, 113];
const UC_X86_REG_RIP = 41;
const UC_X86_REG_EFLAGS = 25;
// uc_err
const UC_ERR = { OK: 0, INSN_INVALID: 10, EXCEPTION: 21 } as const;
// uc_mem_type of an invalid access
const ACCESS: Readonly<Record<number, readonly ['read' | 'write' | 'fetch', boolean]>> = {
  19: ['read', true],
  20: ['write', true],
  21: ['fetch', true],
  22: ['write', false],
  23: ['read', false],
  24: ['fetch', false],
};
/** UC_CTL_TB_REMOVE_CACHE, two arguments, write. */
const TB_REMOVE_CACHE = 9 | (2 << 26) | (1 << 30);
/** UC_CTL_TLB_TYPE, one argument, write; and UC_TLB_VIRTUAL. */
const TLB_TYPE = 12 | (1 << 26) | (1 << 30);
const TLB_VIRTUAL = 1;
/** An address that nothing jumps to (not canonical): uc_emu_start's `until`. */
const NOWHERE = 0x8000000000000001n;
/** Task stacks that the engine has mapped at once; others are mapped when touched. */
const STACKS_MAPPED = 40;
/** Bytes of the engine's structure that calibration looks at. */
const ENGINE_BYTES = 2048;

type Ptr = unknown;

function bind(path: string) {
  const lib = koffi.load(path);
  return {
    open: lib.func('int uc_open(int, int, _Out_ void**)'),
    close: lib.func('int uc_close(void*)'),
    mapPtr: lib.func('int uc_mem_map_ptr(void*, uint64, size_t, uint32, uint64)'),
    unmap: lib.func('int uc_mem_unmap(void*, uint64, size_t)'),
    protect: lib.func('int uc_mem_protect(void*, uint64, size_t, uint32)'),
    regWrite: lib.func('int uc_reg_write(void*, int, void*)'),
    start: lib.func('int uc_emu_start(void*, uint64, uint64, uint64, size_t)'),
    hookAdd: lib.func('int uc_hook_add(void*, _Out_ uint64*, int, uint64, void*, uint64, uint64, ...)'),
    contextAlloc: lib.func('int uc_context_alloc(void*, _Out_ void**)'),
    contextSave: lib.func('int uc_context_save(void*, void*)'),
    contextRestore: lib.func('int uc_context_restore(void*, void*)'),
    contextSize: lib.func('size_t uc_context_size(void*)'),
    contextFree: lib.func('int uc_context_free(void*)'),
    ctl: lib.func('int uc_ctl(void*, uint32, ...)'),
    strerror: lib.func('const char* uc_strerror(int)'),
    stopAddress: lib.symbol('uc_emu_stop', 'void') as unknown as bigint,
  };
}
type Lib = ReturnType<typeof bind>;

let bound: { path: string; lib: Lib } | undefined;
const MemHook = koffi.proto(
  'bool klpemu_mem_hook(void* uc, int type, uint64 addr, int size, int64 value, void* user)',
);

/** @throws EngineError when no library is found: the message names the package and the variable. */
function library(): Lib {
  const path = findUnicornLibrary();
  if (bound?.path !== path) {
    try {
      bound = { path, lib: bind(path) };
    } catch (error) {
      throw new EngineError(`cannot load the Unicorn library ${path}: ${(error as Error).message}`);
    }
  }
  return (bound as { lib: Lib }).lib;
}

/** Where things are in the engine's structure and in a saved context, in bytes. */
interface Calibration {
  readonly counter: number;
  readonly registers: number;
  readonly gsBase: number;
  /** The code segment's selector, whose low bits are the privilege level. */
  readonly codeSelector: number;
  /** Bytes of a context that differ between the rings: segments and the engine's mode flags. */
  readonly ringBytes: readonly number[];
  readonly ring0: Uint8Array;
  readonly ring3: Uint8Array;
  /** The exception that the engine takes to be under delivery; it makes a double fault of the next. */
  readonly exception: number;
}
let calibration: Calibration | undefined;

class UnicornContext implements CpuContext {
  readonly ptr: Ptr;
  readonly bytes: Uint8Array;
  readonly regs: BigUint64Array;
  readonly halves: Uint32Array;
  readonly #gs: DataView;
  readonly #cal: Calibration;
  dirty = true;

  constructor(ptr: Ptr, buffer: ArrayBuffer, cal: Calibration) {
    this.ptr = ptr;
    this.bytes = new Uint8Array(buffer);
    this.regs = new BigUint64Array(buffer, cal.registers, 18);
    this.halves = new Uint32Array(buffer, cal.registers, 36);
    this.#gs = new DataView(buffer, cal.gsBase, 8);
    this.#cal = cal;
  }

  get cpl(): number {
    return this.bytes[this.#cal.codeSelector] & 3;
  }
  get gsBase(): Addr {
    return this.#gs.getBigUint64(0, true);
  }
  set gsBase(value: Addr) {
    this.#gs.setBigUint64(0, value, true);
    this.dirty = true;
  }
  touch(): void {
    this.dirty = true;
  }
  /** The exception that ended the run is delivered by the caller: the engine must not wait for the end of that. */
  exceptionDelivered(): void {
    this.bytes.fill(0xff, this.#cal.exception, this.#cal.exception + 4);
    this.dirty = true;
  }
  setRing(ring: 0 | 3): void {
    const from = ring === 0 ? this.#cal.ring0 : this.#cal.ring3;
    this.#cal.ringBytes.forEach((at, i) => {
      this.bytes[at] = from[i];
    });
    this.dirty = true;
  }
}

export class UnicornEngine implements Engine {
  readonly #lib: Lib;
  readonly #uc: Ptr;
  readonly #cal: Calibration;
  readonly #counter: Int32Array;
  readonly #contexts: Ptr[] = [];
  #host: bigint = 0n;
  #current: UnicornContext | undefined;
  #closed = false;
  readonly #callback: bigint;
  readonly #stop: Stop = { kind: 'budget', executed: 0, faultAddr: 0n, access: 'read', unmapped: true };
  #faultAddr = 0n;
  #faultType = 0;
  /** Stack slots that exist, with their offset in the buffer; and those the engine has mapped, oldest first. */
  readonly #stacks = new Map<number, number>();
  readonly #mappedStacks = new Set<number>();
  readonly #codeAt: (addr: Addr) => number;

  /** @param byteAt reads a guest byte, for telling hlt from syscall and int3 from other exceptions. */
  constructor(byteAt: (addr: Addr) => number) {
    this.#lib = library();
    calibration ??= calibrate(this.#lib);
    this.#cal = calibration;
    this.#uc = openEngine(this.#lib);
    this.#counter = new Int32Array(koffi.view(this.#uc, ENGINE_BYTES), this.#cal.counter, 1);
    this.#codeAt = byteAt;
    this.#callback = koffi.register(
      (_uc: Ptr, type: number, addr: bigint | number) =>
        this.#invalidAccess(type, BigInt.asUintN(64, BigInt(addr))),
      koffi.pointer(MemHook),
    ) as unknown as bigint;
    this.#check(
      'uc_hook_add',
      this.#lib.hookAdd(
        this.#uc,
        [0n],
        UC_HOOK_MEM_INVALID,
        koffi.address(this.#callback as never),
        null,
        1n,
        0n,
      ),
    );
  }

  readonly allocate: SharedAllocator = (bytes) => {
    const buffer = new ArrayBuffer(bytes + PAGE_SIZE);
    const address = koffi.address(buffer) as bigint | number;
    const start = Number((BigInt(PAGE_SIZE) - (BigInt(address) % BigInt(PAGE_SIZE))) % BigInt(PAGE_SIZE));
    this.#host = BigInt(address) + BigInt(start);
    return { buffer, start };
  };

  map(base: Addr, size: number, prot: number, ramOffset: number): void {
    if (hi32(base) === STACK_HI) this.#stacks.set(lo32(base) >>> 15, ramOffset);
    else this.#mapNow(base, size, prot, ramOffset);
  }
  unmap(base: Addr, size: number): void {
    if (hi32(base) === STACK_HI) {
      const slot = lo32(base) >>> 15;
      this.#stacks.delete(slot);
      if (!this.#mappedStacks.delete(slot)) return;
    }
    this.#check('uc_mem_unmap', this.#lib.unmap(this.#uc, base, size));
  }
  protect(base: Addr, size: number, prot: number): void {
    this.#check('uc_mem_protect', this.#lib.protect(this.#uc, base, size, prot));
    // What was translated while it was executable would still be executed.
    if ((prot & PROT_EXEC) === 0) this.invalidate(base, size);
    // The engine gives the RAM offset of what was unmapped to what is mapped next, and finds translations by
    // that offset: those of a module that is gone would run in the one that came after it.
    if (prot & PROT_EXEC) this.#forgetPages(base, size);
  }
  invalidate(addr: Addr, size: number): void {
    this.#lib.ctl(this.#uc, TB_REMOVE_CACHE, 'uint64', addr, 'uint64', addr + BigInt(size));
  }
  /** Page by page: only what is one piece of the engine's memory can be invalidated at once. */
  #forgetPages(base: Addr, size: number): void {
    for (let at = 0; at < size; at += PAGE_SIZE) this.invalidate(base + BigInt(at), PAGE_SIZE);
  }
  #mapNow(base: Addr, size: number, prot: number, ramOffset: number): void {
    this.#check(
      'uc_mem_map_ptr',
      this.#lib.mapPtr(this.#uc, base, size, prot, this.#host + BigInt(ramOffset)),
    );
  }

  /** Loads GDTR, then SS and CS from it: ring 0. Contexts made later have these segments. */
  loadSegments(gdt: Addr, limit: number): void {
    const word = Buffer.alloc(24);
    word.writeBigUInt64LE(gdt, 8);
    word.writeUInt32LE(limit, 16);
    this.#check('GDTR', this.#lib.regWrite(this.#uc, UC_X86_REG.GDTR, word));
    for (const [reg, selector] of [
      [UC_X86_REG.SS, 0x18],
      [UC_X86_REG.CS, 0x10],
    ]) {
      word.fill(0);
      word.writeUInt32LE(selector);
      this.#check('segment', this.#lib.regWrite(this.#uc, reg, word));
    }
  }

  newContext(): CpuContext {
    const ptr = allocContext(this.#lib, this.#uc);
    this.#contexts.push(ptr);
    const buffer = koffi.view(ptr, Number(this.#lib.contextSize(this.#uc))) as ArrayBuffer;
    const context = new UnicornContext(ptr, buffer, this.#cal);
    context.setRing(0);
    return context;
  }

  run(context: CpuContext, max: number): Stop {
    const ctx = context as UnicornContext;
    if (this.#mappedStacks.size > STACKS_MAPPED) this.#dropStacks();
    if (ctx.dirty || this.#current !== ctx) {
      this.#lib.contextRestore(this.#uc, ctx.ptr);
      ctx.dirty = false;
      this.#current = ctx;
    }
    this.#faultType = 0;
    const err = this.#lib.start(this.#uc, ctx.regs[REG.rip], NOWHERE, 0n, max) as number;
    this.#lib.contextSave(this.#uc, ctx.ptr);
    return this.#explain(err, this.#counter[0], max, ctx);
  }

  #explain(err: number, counter: number, max: number, ctx: UnicornContext): Stop {
    const stop = this.#stop;
    if (err === UC_ERR.OK) {
      // The counter has started one more than it completed when the budget ended the run.
      stop.executed = Math.min(counter, max);
      if (counter > max) stop.kind = 'budget';
      else {
        const last = this.#codeAt(ctx.regs[REG.rip] - 1n);
        stop.kind = last === 0xf4 ? 'hlt' : last === 0x05 ? 'syscall' : 'budget'; // f4: hlt, 0f 05: syscall
      }
      return stop;
    }
    stop.executed = counter - 1;
    ctx.exceptionDelivered();
    if (this.#faultType !== 0) {
      stop.kind = 'page fault';
      stop.faultAddr = this.#faultAddr;
      const [access, unmapped] = ACCESS[this.#faultType] ?? ['read', true];
      stop.access = access;
      // A fetch that fails is not counted as started: what came before it is complete.
      if (access === 'fetch') stop.executed = counter;
      stop.unmapped = unmapped;
    } else if (err === UC_ERR.INSN_INVALID) stop.kind = 'invalid opcode';
    else if (err === UC_ERR.EXCEPTION) {
      const rip = ctx.regs[REG.rip];
      // cc: int3, cd ib: int n; both leave RIP behind them.
      const isInt = this.#codeAt(rip - 1n) === 0xcc || this.#codeAt(rip - 2n) === 0xcd;
      stop.kind = isInt ? 'int' : 'exception';
      if (isInt) stop.executed = counter;
    } else throw new EngineError(`the engine stopped: ${this.#lib.strerror(err)} (${err})`);
    return stop;
  }

  /** A touch of memory that is not mapped: a stack is mapped now; anything else ends the run. */
  #invalidAccess(type: number, addr: Addr): boolean {
    if (hi32(addr) === STACK_HI) {
      const slot = lo32(addr) >>> 15;
      const ram = this.#stacks.get(slot);
      const inStack = (lo32(addr) & (STACK_SLOT - 1)) >= STACK_SLOT - THREAD_SIZE;
      if (ram !== undefined && inStack && !this.#mappedStacks.has(slot)) {
        this.#mapNow(stackBase(slot), THREAD_SIZE, 3, ram);
        this.#mappedStacks.add(slot);
        return true;
      }
    }
    this.#faultType = type;
    this.#faultAddr = addr;
    return false;
  }

  #dropStacks(): void {
    for (const slot of this.#mappedStacks) {
      if (this.#mappedStacks.size <= STACKS_MAPPED / 2) break;
      this.#mappedStacks.delete(slot);
      this.#check('uc_mem_unmap', this.#lib.unmap(this.#uc, stackBase(slot), THREAD_SIZE));
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const ptr of this.#contexts) this.#lib.contextFree(ptr);
    this.#lib.close(this.#uc);
    koffi.unregister(this.#callback as never);
    this.#stacks.clear();
  }

  #check(what: string, err: unknown): void {
    if (err !== UC_ERR.OK) throw new EngineError(`${what}: ${this.#lib.strerror(err)}`);
  }
}

function stackBase(slot: number): Addr {
  return (BigInt(STACK_HI) << 32n) + BigInt(slot) * BigInt(STACK_SLOT) + BigInt(STACK_SLOT - THREAD_SIZE);
}

function openEngine(lib: Lib): Ptr {
  const out: Ptr[] = [null];
  const err = lib.open(UC_ARCH_X86, UC_MODE_64, out);
  if (err !== UC_ERR.OK) throw new EngineError(`uc_open: ${lib.strerror(err)}`);
  const uc = out[0];
  // From 2.1 on, physical addresses are cut to 52 bits unless the TLB is filled without the CPU's MMU. Versions
  // that do not know the setting refuse it, and need none.
  lib.ctl(uc, TLB_TYPE, 'int', TLB_VIRTUAL);
  // syscall at ring 3 ends the run: the hook is uc_emu_stop itself.
  lib.hookAdd(uc, [0n], UC_HOOK_INSN, lib.stopAddress, null, 1n, 0n, 'int', UC_X86_INS_SYSCALL);
  return uc;
}

function allocContext(lib: Lib, uc: Ptr): Ptr {
  const out: Ptr[] = [null];
  const err = lib.contextAlloc(uc, out);
  if (err !== UC_ERR.OK) throw new EngineError(`uc_context_alloc: ${lib.strerror(err)}`);
  lib.contextSave(uc, out[0]);
  return out[0];
}

/** GDT of the calibration engine, and of every machine: entries as in arch/x86/include/asm/segment.h. */
export const GDT: readonly bigint[] = [
  0n,
  0x00cf9b000000ffffn, // KERNEL32_CS
  0x00af9b000000ffffn, // KERNEL_CS 0x10
  0x00cf93000000ffffn, // KERNEL_DS 0x18
  0x00cffb000000ffffn, // DEFAULT_USER32_CS 0x20
  0x00cff3000000ffffn, // DEFAULT_USER_DS 0x28
  0x00affb000000ffffn, // DEFAULT_USER_CS 0x30
];

/** Finds what Unicorn's API does not tell. @throws EngineError when this build does not fit. */
function calibrate(lib: Lib): Calibration {
  const uc = openEngine(lib);
  const buffer = new ArrayBuffer(3 * PAGE_SIZE);
  const address = BigInt(koffi.address(buffer) as bigint | number);
  const start = Number((BigInt(PAGE_SIZE) - (address % BigInt(PAGE_SIZE))) % BigInt(PAGE_SIZE));
  const ram = new Uint8Array(buffer, start, 2 * PAGE_SIZE);
  lib.mapPtr(uc, 0x10000n, 2 * PAGE_SIZE, 7, address + BigInt(start));
  const word = Buffer.alloc(24);
  const write = (reg: number, value: bigint) => {
    word.fill(0);
    word.writeBigUInt64LE(BigInt.asUintN(64, value));
    lib.regWrite(uc, reg, word);
  };
  const counter = findCounter(lib, uc, ram);
  // Segments: the GDT in the second page, then the selectors.
  GDT.forEach((entry, i) => {
    new DataView(buffer, start + PAGE_SIZE).setBigUint64(8 * i, entry, true);
  });
  word.fill(0);
  word.writeBigUInt64LE(0x11000n, 8);
  word.writeUInt32LE(8 * GDT.length - 1, 16);
  lib.regWrite(uc, UC_X86_REG.GDTR, word);
  write(UC_X86_REG.SS, 0x18n);
  write(UC_X86_REG.CS, 0x10n);
  write(UC_X86_REG.DS, 0n);
  write(UC_X86_REG.ES, 0n);
  const size = Number(lib.contextSize(uc));
  const context = () => {
    const ptr = allocContext(lib, uc);
    const bytes = new Uint8Array(koffi.view(ptr, size) as ArrayBuffer).slice();
    lib.contextFree(ptr);
    return bytes;
  };
  const registers = findRegisters(context, write);
  const before = context();
  write(UC_X86_REG.GS_BASE, 0x1122334455667788n);
  const gsBase = findWord(context(), 0x1122334455667788n);
  write(UC_X86_REG.GS_BASE, 0n);
  if (gsBase < 0 || findWord(before, 0x1122334455667788n) >= 0) throw misfit('GS base in a saved context');
  const rings = findRings(lib, uc, ram, context, registers, write);
  const exception = findException(lib, uc, ram, context, write);
  lib.close(uc);
  return { counter, registers, gsBase, exception, ...rings };
}

function misfit(what: string): EngineError {
  return new EngineError(
    `this build of Unicorn does not fit: cannot find the ${what}. Version 2.0.1 or newer of the 2.x series is known to work; KLPEMU_UNICORN can name another library`,
  );
}

/** Three blocks of known lengths, each nops and hlt: the word that reads its length each time. */
function findCounter(lib: Lib, uc: Ptr, ram: Uint8Array): number {
  const words = new Int32Array(koffi.view(uc, ENGINE_BYTES));
  let candidates: number[] | undefined;
  for (const nops of [5, 11, 23]) {
    ram.fill(0x90, 0, nops);
    ram[nops] = 0xf4; // hlt
    lib.ctl(uc, TB_REMOVE_CACHE, 'uint64', 0x10000n, 'uint64', 0x10000n + 64n);
    lib.start(uc, 0x10000n, NOWHERE, 0n, 1000);
    const hits = [...words.keys()].filter((i) => words[i] === nops + 1);
    candidates = candidates?.filter((i) => hits.includes(i)) ?? hits;
  }
  if (candidates?.length !== 1) throw misfit('instruction counter');
  return candidates[0] * 4;
}

function findRegisters(context: () => Uint8Array, write: (reg: number, value: bigint) => void): number {
  GPR.forEach((reg, i) => {
    write(reg, 0x5a5a_0000_0000_0000n + BigInt(i));
  });
  write(UC_X86_REG_RIP, 0x5a5a_0000_0000_0010n);
  write(UC_X86_REG_EFLAGS, 0x246n);
  const bytes = context();
  const at = findWord(bytes, 0x5a5a_0000_0000_0000n);
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  for (let i = 0; at < 0 || i <= 16; i++) {
    if (at < 0 || view.getBigUint64(at + 8 * i, true) !== 0x5a5a_0000_0000_0000n + BigInt(i)) {
      throw misfit('registers in a saved context');
    }
  }
  return at;
}

/** A division by zero: the word that was -1 and is the vector now. */
function findException(
  lib: Lib,
  uc: Ptr,
  ram: Uint8Array,
  context: () => Uint8Array,
  write: (reg: number, value: bigint) => void,
): number {
  ram.set([0xf7, 0xf1], 0x300); // div ecx
  write(GPR[1], 0n);
  const before = new Int32Array(context().buffer);
  lib.start(uc, 0x10300n, NOWHERE, 0n, 1);
  const after = new Int32Array(context().buffer);
  const found = [...before.keys()].filter((i) => before[i] === -1 && after[i] === 0);
  if (found.length !== 1) throw misfit('exception under delivery in a saved context');
  return 4 * found[0];
}

function findWord(bytes: Uint8Array, value: bigint): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0; at + 8 <= bytes.length; at += 8) if (view.getBigUint64(at, true) === value) return at;
  return -1;
}

/** Goes to ring 3 by iretq and compares: what differs, general registers apart, is the ring. */
function findRings(
  lib: Lib,
  uc: Ptr,
  ram: Uint8Array,
  context: () => Uint8Array,
  registers: number,
  write: (reg: number, value: bigint) => void,
): Pick<Calibration, 'codeSelector' | 'ringBytes' | 'ring0' | 'ring3'> {
  ram.set([0x48, 0xcf], 0x100); // iretq
  const frame = new DataView(ram.buffer, ram.byteOffset + 0x800);
  [0x10200n, 0x33n, 0x246n, 0x10900n, 0x2bn].forEach((value, i) => {
    frame.setBigUint64(8 * i, value, true);
  });
  ram[0x200] = 0x90;
  write(GPR[REG.rsp], 0x10800n);
  write(UC_X86_REG_RIP, 0x10100n);
  write(UC_X86_REG_EFLAGS, 0x246n);
  // Load and store once at ring 0, so that lazily evaluated state is alike in both.
  ram.set([0x90, 0x90], 0x300);
  lib.start(uc, 0x10300n, NOWHERE, 0n, 1);
  const zero = context();
  if (lib.start(uc, 0x10100n, NOWHERE, 0n, 1) !== UC_ERR.OK) throw misfit('way to ring 3');
  const three = context();
  const block = (at: number) => at >= registers && at < registers + 18 * 8;
  const ringBytes = [...zero.keys()].filter((at) => zero[at] !== three[at] && !block(at));
  const codeSelector = ringBytes.find((at) => zero[at] === 0x10 && three[at] === 0x33);
  if (codeSelector === undefined) throw misfit('ring in a saved context');
  return {
    codeSelector,
    ringBytes,
    ring0: Uint8Array.from(ringBytes, (at) => zero[at]),
    ring3: Uint8Array.from(ringBytes, (at) => three[at]),
  };
}
