// From a halt in a stub to the TypeScript part of that host function, and back.
//
// A host function that is a generator is suspended while guest code runs for it. It belongs to the
// stack it was called on: the task may sleep, be preempted, and go on on another CPU meanwhile.

import type { HostStubs } from '../../arch/host_stubs.ts';
import { type Addr, lo32 } from '../../guest/addr.ts';
import type { HostCall, HostFunction, HostGenerator, HostRequest, HostResult } from '../../guest/hostcall.ts';
import { GuestMemoryError } from '../../guest/memory.ts';
import type { KernelCore } from '../../kernel/core.ts';
import { isUnforeseen, MachineError } from '../machine_error.ts';
import type { Cpu } from './cpu.ts';

interface Stub {
  readonly name: string;
  /** Address of the halt that enters it. */
  readonly halt: Addr;
  /** What the halt just executed means. */
  readonly phase: 'entered' | 'returned' | 'relaxed';
}

interface Suspended {
  readonly stub: Stub;
  readonly generator: HostGenerator;
  readonly call: HostCall;
}

/** A stub without a TypeScript part, or the other way round: the image and the kernel model disagree. */
export class HostCallError extends Error {
  readonly code = 'EHOSTCALL';
  constructor(message: string) {
    super(message);
    this.name = 'HostCallError';
  }
}

const known = new WeakMap<ReadonlyMap<string, Addr>, ReadonlyMap<number, Stub>>();

/** By low half of the address behind a halt: the same for all machines of an image. */
function haltsOf(stubs: ReadonlyMap<string, Addr>, { offsets }: HostStubs): ReadonlyMap<number, Stub> {
  const found = known.get(stubs);
  if (found) return found;
  const halts = new Map<number, Stub>();
  for (const [name, halt] of stubs) {
    for (const phase of ['entered', 'returned', 'relaxed'] as const)
      halts.set(lo32(halt + BigInt(offsets[phase])), { name, halt, phase });
  }
  known.set(stubs, halts);
  return halts;
}

export class HostCallDispatch {
  readonly #core: KernelCore;
  readonly #arch: HostStubs;
  /** Bytes of a stub's own frame, above which the stack is as at the function's entry. */
  readonly #frame: bigint;
  /** Indices of registers in a context. */
  readonly #args: readonly number[];
  readonly #result: number;
  /** Where the low half of the PC is in a context's halves. */
  readonly #pc: number;
  /** Told of each part of a host function, from where guest code left off to where it goes on. */
  onServed: ((cpu: Cpu, name: string) => void) | undefined;
  /** Told before it and behind it what it stores; whether that may become visible one by one. */
  stores: { begin(): void; end(cpu: Cpu, waits: boolean): void } | undefined;
  #waits = false;
  /** The part that was served last has only asked whether others are so far. */
  polls = false;
  /** And does not sleep until it asks again. */
  spins = false;
  /** Told before each part of a host function. */
  onServing: (() => void) | undefined;
  /** By low half of the address behind a halt. */
  readonly #stubs: ReadonlyMap<number, Stub>;
  /** Suspended host functions, innermost last, by stack slot. */
  readonly #suspended = new Map<number, Suspended[]>();

  /**
   * Binds every stub of the image to its function.
   * @param stubs names and addresses of the halt that enters each.
   * @param native functions that a real kernel's own code is instead: their stubs are left out.
   * @throws HostCallError naming every stub without a function and every function without a stub.
   */
  constructor(
    core: KernelCore,
    stubs: ReadonlyMap<string, Addr>,
    framePointers = false,
    native?: { has(name: string): boolean },
  ) {
    this.#core = core;
    const { context, hostStubs } = core.arch;
    this.#arch = hostStubs;
    this.#frame = BigInt(hostStubs.frameBytes(framePointers));
    this.#args = context.args;
    this.#result = context.result;
    this.#pc = 2 * context.pc;
    const missing = [...stubs.keys()].filter((name) => !core.host.get(name));
    const unused = [...core.host.names()].filter((name) => !stubs.has(name) && !native?.has(name));
    if (missing.length > 0 || unused.length > 0) {
      throw new HostCallError(
        `host functions and their stubs in asm/ disagree; no TypeScript part: ${missing.join(' ') || '-'}; no stub: ${unused.join(' ') || '-'}`,
      );
    }
    this.#stubs = haltsOf(stubs, hostStubs);
  }

  /** Handles the halt behind which the CPU stands. @returns false when it is no host call's. */
  dispatch(cpu: Cpu): boolean {
    const stub = this.#stubs.get(cpu.context.halves[this.#pc]);
    if (!stub || cpu.context.userMode) return false;
    this.#core.mem.space = cpu.context.space ?? 0;
    this.#waits = false;
    this.polls = false;
    this.spins = false;
    this.onServing?.();
    this.stores?.begin();
    if (stub.phase === 'entered') this.#enter(cpu, stub);
    else this.#resume(cpu, stub);
    this.stores?.end(cpu, this.#waits);
    this.onServed?.(cpu, stub.name);
    return true;
  }

  #enter(cpu: Cpu, stub: Stub): void {
    const { regs } = cpu.context;
    const sp = cpu.sp + this.#frame;
    const call: HostCall = {
      cpu: cpu.id,
      args: this.#args.map((reg) => regs[reg]),
      sp,
      caller: this.#arch.returnAddress(this.#core.mem, cpu.context, sp),
    };
    const result = this.#guarded(cpu, stub, () => (this.#core.host.get(stub.name) as HostFunction)(call));
    if (result === FAULTED) return;
    if (!isGenerator(result)) {
      this.#finish(cpu, stub, result);
      return;
    }
    const suspended = { stub, generator: result, call };
    this.#stackOf(cpu).push(suspended);
    this.#advance(cpu, suspended, 0n);
  }

  #resume(cpu: Cpu, stub: Stub): void {
    const suspended = this.#stackOf(cpu).at(-1);
    if (!suspended || suspended.call.sp !== cpu.sp + this.#frame || suspended.stub.halt !== stub.halt) {
      throw new HostCallError(
        `${stub.name} goes on where it was not suspended, at stack pointer 0x${cpu.sp.toString(16)}`,
      );
    }
    suspended.call.cpu = cpu.id;
    this.#advance(cpu, suspended, cpu.context.regs[this.#result]);
  }

  #advance(cpu: Cpu, suspended: Suspended, value: bigint): void {
    const step = this.#guarded(cpu, suspended.stub, () => suspended.generator.next(value));
    if (step === FAULTED) {
      this.#stackOf(cpu).pop();
      return;
    }
    if (step.done) {
      this.#stackOf(cpu).pop();
      this.#finish(cpu, suspended.stub, step.value);
    } else this.#request(cpu, suspended.stub, step.value);
  }

  #request(cpu: Cpu, stub: Stub, request: HostRequest): void {
    const { regs } = cpu.context;
    this.polls = request.polls === true;
    if ('relax' in request) {
      this.#waits = request.waits === true;
      this.spins = this.polls;
      cpu.pc = stub.halt + BigInt(this.#arch.offsets.relax);
      return;
    }
    request.args?.forEach((arg, i) => {
      regs[this.#args[i]] = BigInt.asUintN(64, BigInt(arg));
    });
    regs[this.#arch.callee] = request.call;
    cpu.pc = stub.halt + BigInt(this.#arch.offsets.call);
  }

  #finish(cpu: Cpu, stub: Stub, result: HostResult): void {
    cpu.context.regs[this.#result] = BigInt.asUintN(64, BigInt(result ?? 0));
    cpu.pc = stub.halt + BigInt(this.#arch.offsets.ret);
  }

  /**
   * A bad guest pointer that the kernel would have followed is a page fault of the guest, in the stub.
   * @throws MachineError for what the function did not foresee: who called it, and from where.
   */
  #guarded<T>(cpu: Cpu, stub: Stub, run: () => T): T | typeof FAULTED {
    try {
      return run();
    } catch (error) {
      if (isUnforeseen(error)) throw this.#unforeseen(cpu, stub, error);
      if (!(error instanceof GuestMemoryError)) throw error;
      cpu.pc = stub.halt;
      cpu.processor.readFault(error.addr);
      return FAULTED;
    }
  }

  #unforeseen(cpu: Cpu, stub: Stub, error: Error): MachineError {
    const { mem } = this.#core;
    const sp = cpu.sp + this.#frame;
    const known = stub.phase === 'entered' && mem.isMapped(sp, 8);
    const caller = known ? this.#core.sym(this.#arch.returnAddress(mem, cpu.context, sp)) : undefined;
    const by = `${this.#core.current(cpu.id)} on CPU ${cpu.id}${caller ? `, called from ${caller}` : ''}`;
    return new MachineError(`the host function ${stub.name} failed for ${by}: ${error.message}`, {
      cause: error,
    });
  }

  #stackOf(cpu: Cpu): Suspended[] {
    const slot = cpu.stackSlot();
    let stack = this.#suspended.get(slot);
    if (!stack) {
      stack = [];
      this.#suspended.set(slot, stack);
    }
    return stack;
  }

  /** On which stacks there was one suspended, where none is now. */
  keep(): readonly number[] | undefined {
    const stacks = [...this.#suspended];
    return stacks.every(([, { length }]) => length === 0) ? stacks.map(([slot]) => slot) : undefined;
  }
  restore(slots: readonly number[]): void {
    this.#suspended.clear();
    for (const slot of slots) this.#suspended.set(slot, []);
  }

  /** A task is gone: what was suspended on its stack never goes on. */
  forget(slot: number): void {
    this.#suspended.delete(slot);
  }

  /** Names of the host functions suspended on a stack, outermost first. */
  suspendedOn(slot: number): string[] {
    return (this.#suspended.get(slot) ?? []).map((s) => s.stub.name);
  }
}

const FAULTED = Symbol('faulted');

function isGenerator(value: unknown): value is HostGenerator {
  return typeof value === 'object' && value !== null && 'next' in value;
}
