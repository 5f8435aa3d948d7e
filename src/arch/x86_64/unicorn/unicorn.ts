// The CPU port on Unicorn 2, the native library, through koffi (unicorn_api.ts, unicorn_calibration.ts).
//
// What it relies on, beyond the API (each checked when an engine is opened, never guessed):
// - the engine's instruction counter is a word of its structure, found by calibration, so that a run
//   that ends early is counted exactly;
// - a saved context holds the general registers, RIP and RFLAGS in one block, found by their values,
//   so that registers are read and written as array elements;
// - uc_emu_stop has the signature of a syscall hook, so it is the hook: no callback into JavaScript.

import { type Addr, hi32, lo32, STACK_HI, STACK_SLOT, THREAD_SIZE } from '../../../guest/addr.ts';
import { type CpuContext, EngineError, type Stop } from '../../../guest/engine.ts';
import { type GuestMemory, PAGE_SIZE, PROT_EXEC, type SharedAllocator } from '../../../guest/memory.ts';
import type { ArchEngine } from '../../engine.ts';
import { REG } from '../context.ts';
import { SELECTOR, writeGdt } from '../gdt.ts';
import { EnginePieces } from './engine_pieces.ts';
import { koffi } from './koffi.ts';
import {
  allocContext,
  ENGINE_BYTES,
  EXITS,
  type Lib,
  memHookType,
  NOWHERE,
  openEngine,
  type Ptr,
  TB_REMOVE_CACHE,
  UC_ERR,
  UC_HOOK_MEM_INVALID,
  UC_X86_REG,
  USE_EXITS,
  viewContext,
} from './unicorn_api.ts';
import type { Calibration } from './unicorn_calibration.ts';
import { chooseUnicorn } from './unicorn_choice.ts';

// uc_mem_type of an invalid access
const ACCESS: Readonly<Record<number, readonly ['read' | 'write' | 'fetch', boolean]>> = {
  19: ['read', true],
  20: ['write', true],
  21: ['fetch', true],
  22: ['write', false],
  23: ['read', false],
  24: ['fetch', false],
};
const FORBIDDEN = { write: 22, read: 23, fetch: 24 } as const;
/** Task stacks that the engine has mapped at once; others are mapped when touched. */
const STACKS_MAPPED = 40;
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

  get userMode(): boolean {
    return (this.bytes[this.#cal.codeSelector] & 3) !== 0;
  }
  /** GS base. */
  get perCpuBase(): Addr {
    return this.#gs.getBigUint64(0, true);
  }
  set perCpuBase(value: Addr) {
    this.#gs.setBigUint64(0, value, true);
    this.dirty = true;
  }
  touch(): void {
    this.dirty = true;
  }
  /**
   * The exception that ended the run is delivered by the caller: the engine must not wait for the end of that.
   * @returns whether there was one: an interrupt that was asked for, int3 or int n, is none
   */
  exceptionDelivered(): boolean {
    const { exception } = this.#cal;
    const was = this.bytes.subarray(exception, exception + 4).some((byte) => byte !== 0xff);
    this.bytes.fill(0xff, exception, exception + 4);
    this.dirty = true;
    return was;
  }
  /** Its segments become those of ring 3 or ring 0. */
  setUserMode(user: boolean): void {
    const from = user ? this.#cal.ring3 : this.#cal.ring0;
    this.#cal.ringBytes.forEach((at, i) => {
      this.bytes[at] = from[i];
    });
    this.dirty = true;
  }
}

export class UnicornEngine implements ArchEngine {
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
  readonly #pieces: EnginePieces;
  /** Addresses that stopBefore() named. The engine looks at them all after each run: there must be few. */
  readonly #refused = new Set<Addr>();
  readonly #byte = Buffer.alloc(1);

  constructor() {
    const { lib, calibration } = chooseUnicorn();
    this.#lib = lib;
    this.#cal = calibration;
    this.#uc = openEngine(this.#lib);
    this.#counter = new Int32Array(koffi().view(this.#uc, ENGINE_BYTES), this.#cal.counter, 1);
    this.#pieces = new EnginePieces({
      mapPiece: (base, size, prot, ramOffset) => {
        this.#mapNow(base, size, prot, ramOffset);
        // The engine gives the RAM offset of what was unmapped to what is mapped next, and finds translations by
        // that offset: those of a module that is gone would run in the one that came after it.
        if (prot & PROT_EXEC) this.#forgetPages(base, size);
      },
      unmapPiece: (base, size, prot) => {
        if (prot & PROT_EXEC) this.invalidate(base, size);
        this.#check('uc_mem_unmap', this.#lib.unmap(this.#uc, base, size));
      },
    });
    try {
      this.#callback = this.#hookMemory();
    } catch (error) {
      this.#lib.close(this.#uc);
      throw error;
    }
  }

  #hookMemory(): bigint {
    const callback = koffi().register(
      (_uc: Ptr, type: number, addr: bigint | number) =>
        this.#invalidAccess(type, BigInt.asUintN(64, BigInt(addr))),
      koffi().pointer(memHookType()),
    ) as unknown as bigint;
    const address = koffi().address(callback as never);
    const err = this.#lib.hookAdd(this.#uc, [0n], UC_HOOK_MEM_INVALID, address, null, 1n, 0n);
    if (err !== UC_ERR.OK) koffi().unregister(callback as never);
    this.#check('uc_hook_add', err);
    return callback;
  }

  /** An engine whose memory cannot be had is of no use, and is closed. */
  readonly allocate: SharedAllocator = (bytes) => {
    const buffer = newBuffer(bytes + PAGE_SIZE) ?? this.#noMemory(bytes);
    const address = BigInt(koffi().address(buffer) as bigint | number);
    const start = Number((BigInt(PAGE_SIZE) - (address % BigInt(PAGE_SIZE))) % BigInt(PAGE_SIZE));
    this.share(buffer, start);
    return { buffer, start };
  };
  #noMemory(bytes: number): never {
    this.close();
    const size = Math.ceil(bytes / (1 << 20));
    throw new EngineError(
      `no ${size} MiB of address space for guest memory: is there a limit (ulimit -v)? A smaller moduleArea or heap takes less`,
    );
  }
  /** Host memory that an engine before this one allocated. */
  share(buffer: ArrayBuffer, start: number): void {
    this.#host = BigInt(koffi().address(buffer) as bigint | number) + BigInt(start);
  }

  map(base: Addr, size: number, prot: number, ramOffset: number): void {
    if (hi32(base) === STACK_HI) this.#stacks.set(lo32(base) >>> 15, ramOffset);
    else if (this.#pieces.covers(base)) this.#pieces.map(base, size, prot, ramOffset);
    else this.#mapNow(base, size, prot, ramOffset);
  }
  unmap(base: Addr, size: number): void {
    if (hi32(base) === STACK_HI) {
      const slot = lo32(base) >>> 15;
      this.#stacks.delete(slot);
      if (!this.#mappedStacks.delete(slot)) return;
    }
    if (this.#pieces.covers(base)) {
      this.#pieces.unmap(base, size);
      return;
    }
    this.#check('uc_mem_unmap', this.#lib.unmap(this.#uc, base, size));
  }
  protect(base: Addr, size: number, prot: number): void {
    if (this.#pieces.covers(base)) {
      this.#pieces.protect(base, size, prot);
      return;
    }
    this.#check('uc_mem_protect', this.#lib.protect(this.#uc, base, size, prot));
    // What was translated while it was executable would still be executed.
    if ((prot & PROT_EXEC) === 0) this.invalidate(base, size);
    if (prot & PROT_EXEC) this.#forgetPages(base, size);
  }
  invalidate(addr: Addr, size: number): void {
    if (this.#pieces.covers(addr) && !this.#pieces.has(addr)) return;
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

  /** Loads GDTR, then SS and CS from it: ring 0. Contexts made later have these segments. Limit in bytes - 1. */
  loadSegments(gdt: Addr, limit: number): void {
    const word = Buffer.alloc(24);
    word.writeBigUInt64LE(gdt, 8);
    word.writeUInt32LE(limit, 16);
    this.#check('GDTR', this.#lib.regWrite(this.#uc, UC_X86_REG.GDTR, word));
    for (const [reg, selector] of [
      [UC_X86_REG.SS, SELECTOR.KERNEL_DS],
      [UC_X86_REG.CS, SELECTOR.KERNEL_CS],
    ]) {
      word.fill(0);
      word.writeUInt32LE(selector);
      this.#check('segment', this.#lib.regWrite(this.#uc, reg, word));
    }
  }

  loadTables(mem: GuestMemory, addressOf: (symbol: string) => Addr): void {
    const gdt = addressOf('gdt_page');
    this.loadSegments(gdt, writeGdt(mem, gdt));
  }

  newContext(): CpuContext {
    const ptr = allocContext(this.#lib, this.#uc);
    this.#contexts.push(ptr);
    const context = new UnicornContext(ptr, viewContext(this.#lib, this.#uc, ptr, this.#cal.from), this.#cal);
    context.setUserMode(false);
    // It is a copy of what the engine is in: an exception of another context is none of this one's.
    context.exceptionDelivered();
    return context;
  }

  stopBefore(addr: Addr): void {
    if (this.#refused.has(addr)) return;
    if (this.#refused.size === 0) this.#check('uc_ctl', this.#lib.ctl(this.#uc, USE_EXITS, 'int', 1));
    this.#refused.add(addr);
    const exits = BigUint64Array.of(NOWHERE, ...this.#refused);
    this.#check('uc_ctl', this.#lib.ctl(this.#uc, EXITS, 'void*', exits, 'size_t', exits.length));
  }

  stopNowhere(): void {
    if (this.#refused.size === 0) return;
    this.#refused.clear();
    this.#check('uc_ctl', this.#lib.ctl(this.#uc, USE_EXITS, 'int', 0));
  }

  run(context: CpuContext, max: number): Stop {
    const ctx = context as UnicornContext;
    if (this.#refused.size > 0 && this.#refused.has(ctx.regs[REG.rip])) return this.#refuse(0);
    let before = 0;
    for (;;) {
      this.#enter(ctx);
      const err = this.#lib.start(this.#uc, ctx.regs[REG.rip], NOWHERE, 0n, max - before) as number;
      this.#lib.contextSave(this.#uc, ctx.ptr);
      const stop = this.#explain(err, this.#counter[0], max - before, ctx);
      stop.executed += before;
      if (!this.#fetchAgain(stop)) return stop;
      before = stop.executed;
      if (before < max) continue;
      stop.kind = 'budget';
      return stop;
    }
  }

  #enter(ctx: UnicornContext): void {
    if (this.#mappedStacks.size > STACKS_MAPPED) this.#dropStacks();
    this.#pieces.trim();
    if (ctx.dirty || this.#current !== ctx) {
      this.#lib.contextRestore(this.#uc, ctx.ptr);
      ctx.dirty = false;
      this.#current = ctx;
    }
    this.#faultType = 0;
  }

  /** Code that is there, and that the engine had not mapped: it is now. */
  #fetchAgain(stop: Stop): boolean {
    if (stop.kind !== 'page fault' || stop.access !== 'fetch' || !stop.unmapped) return false;
    const is = this.#pieces.touch(stop.faultAddr, 'fetch');
    stop.unmapped = is !== 'forbidden';
    return is === 'mapped';
  }

  #explain(err: number, counter: number, max: number, ctx: UnicornContext): Stop {
    const stop = this.#stop;
    if (err === UC_ERR.OK) {
      // The counter has started one more than it completed when the budget ended the run.
      stop.executed = Math.min(counter, max);
      if (counter > max) stop.kind = 'budget';
      else if (this.#refused.has(ctx.regs[REG.rip])) this.#refuse(stop.executed);
      else {
        const last = this.#codeAt(ctx.regs[REG.rip] - 1n);
        stop.kind = last === 0xf4 ? 'halt' : last === 0x05 ? 'syscall' : 'budget'; // f4: hlt, 0f 05: syscall
      }
      return stop;
    }
    stop.executed = counter - 1;
    const isException = ctx.exceptionDelivered();
    if (this.#faultType !== 0) {
      stop.kind = 'page fault';
      stop.faultAddr = this.#faultAddr;
      const [access, unmapped] = ACCESS[this.#faultType] ?? ['read', true];
      stop.access = access;
      // A fetch that fails is not counted as started: what came before it is complete.
      if (access === 'fetch') stop.executed = counter;
      stop.unmapped = unmapped;
    } else if (err === UC_ERR.INSN_INVALID) stop.kind = 'undefined instruction';
    else if (err === UC_ERR.EXCEPTION) {
      const rip = ctx.regs[REG.rip];
      // cc: int3, cd ib: int n; both leave RIP behind them. An exception is where it came of, and what is before it
      // may be anything.
      const isInt = !isException && (this.#codeAt(rip - 1n) === 0xcc || this.#codeAt(rip - 2n) === 0xcd);
      stop.kind = isInt ? 'trap' : 'exception';
      if (isInt) stop.executed = counter;
    } else throw new EngineError(`the engine stopped: ${this.#lib.strerror(err)} (${err})`);
    return stop;
  }

  /** A byte of what was executed, which tells hlt from syscall and int3 from other exceptions; -1 where there is none. */
  #codeAt(addr: Addr): number {
    return this.#lib.memRead(this.#uc, addr, this.#byte, 1) === UC_ERR.OK ? this.#byte[0] : -1;
  }

  #refuse(executed: number): Stop {
    this.#stop.kind = 'refused';
    this.#stop.executed = executed;
    return this.#stop;
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
    const [access, unmapped] = ACCESS[type] ?? ['read', true];
    // Code is mapped between two runs: the engine is translating it.
    if (!unmapped || !this.#pieces.covers(addr) || access === 'fetch') return false;
    const is = this.#pieces.touch(addr, access);
    if (is === 'forbidden') this.#faultType = FORBIDDEN[access];
    if (is === 'mapped') this.#faultType = 0;
    return is === 'mapped';
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
    koffi().unregister(this.#callback as never);
    this.#stacks.clear();
  }

  #check(what: string, err: unknown): void {
    if (err !== UC_ERR.OK) throw new EngineError(`${what}: ${this.#lib.strerror(err)}`);
  }
}

/** Of address space; a page takes memory when it is touched. */
function newBuffer(bytes: number): ArrayBuffer | undefined {
  try {
    return new ArrayBuffer(bytes);
  } catch {
    return undefined;
  }
}

function stackBase(slot: number): Addr {
  return (BigInt(STACK_HI) << 32n) + BigInt(slot) * BigInt(STACK_SLOT) + BigInt(STACK_SLOT - THREAD_SIZE);
}
