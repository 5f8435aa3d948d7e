// What the kernel makes of an exception: a fix-up, a signal, an oops, a panic.
// Mirrors arch/x86/mm/fault.c, arch/x86/kernel/traps.c and dumpstack.c (oops_begin to oops_end).
//
// Invariant: an oops ends the task that had it and nothing else; a panic ends the machine.

import type { Addr } from '../guest/addr.ts';
import { hex16, STACK_HI, STACK_SLOT, THREAD_SIZE } from '../guest/addr.ts';
import type { HostCall } from '../guest/hostcall.ts';
import type { KernelCore } from '../kernel/core.ts';
import { CONSTANTS, LAYOUT, STRINGS } from '../kernel/layout.ts';
import { KERN_DEFAULT, KERN_INFO, KERN_WARNING } from '../kernel/printk.ts';
import type { TaskStruct } from '../kernel/task_struct.ts';
import { type DumpOptions, dieHeader, type SystemRegs, showRegs, showTrace } from '../unwind/dumpstack.ts';
import type { PtRegs } from '../unwind/ports.ts';
import type { UnwindState } from '../unwind/unwind_state.ts';
import type { Cpu } from './cpu.ts';

const R = LAYOUT.pt_regs.fields;
const { TAINT_DIE, TAINT_WARN } = CONSTANTS;
const HARDWARE = 'klpemu (emulated x86_64)';

/** taint_flags[] of kernel/panic.c: letter when set, letter when not, by bit. */
const TAINTS: readonly (readonly [string, string])[] = [
  ['P', 'G'],
  ['F', ' '],
  ['S', ' '],
  ['R', ' '],
  ['M', ' '],
  ['B', ' '],
  ['U', ' '],
  ['D', ' '],
  ['A', ' '],
  ['W', ' '],
  ['C', ' '],
  ['I', ' '],
  ['O', ' '],
  ['E', ' '],
  ['L', ' '],
  ['K', ' '],
  ['X', ' '],
  ['T', ' '],
  ['N', ' '],
];

/** The guest kernel has stopped for good: its log says why. */
export class GuestPanic extends Error {
  readonly code = 'EPANIC';
  constructor(message: string) {
    super(`Kernel panic - not syncing: ${message}`);
    this.name = 'GuestPanic';
  }
}

export interface TrapPorts {
  cpu(id: number): Cpu;
  /** poke_int3_handler(): true when the int3 was of a site that is being changed. */
  pokeInt3(regs: Addr): boolean;
  /** fixup_exception(): true when the exception table sent regs->ip somewhere. */
  fixupException(regs: Addr): boolean;
  /** WARN and BUG sites: of a ud2, by address. */
  findBug(addr: Addr): { warning: boolean; once: boolean; file?: string; line?: number } | undefined;
  /** The line `Modules linked in: klpdemo_target(OE) ...`. */
  modulesLinkedIn(): string;
  unwinder(): UnwindState;
}

export class Traps {
  readonly #core: KernelCore;
  readonly #ports: TrapPorts;
  #dieCounter = 0;

  constructor(core: KernelCore, ports: TrapPorts) {
    this.#core = core;
    this.#ports = ports;
    core.host.defineAll({
      do_int3: (call) => this.#int3(call),
      do_error_trap: (call) => this.#trap(call, 'divide error'),
      handle_invalid_op: (call) => this.#invalidOp(call),
      do_general_protection: (call) => this.#generalProtection(call),
      handle_page_fault: (call) => this.#pageFault(call),
      handle_stack_overflow: (call) => this.#doubleFault(call),
      stack_chk_panic: (call) => this.#stackChk(call),
    });
  }

  #reg(regs: Addr, name: keyof typeof R): bigint {
    return this.#core.mem.readU64(regs + BigInt(R[name]));
  }
  #userMode(regs: Addr): boolean {
    return (this.#reg(regs, 'cs') & 3n) !== 0n;
  }

  #int3(call: HostCall): number {
    const regs = call.args[0];
    if (!this.#userMode(regs) && this.#ports.pokeInt3(regs)) return 0;
    if (this.#userMode(regs)) return this.#signal(call, 'int3');
    return this.#die(call, regs, 'int3', 0);
  }

  /** 0: handled; 1: the guest goes on to make_task_dead(). */
  #trap(call: HostCall, what: string): number {
    const regs = call.args[0];
    if (this.#userMode(regs)) return this.#signal(call, what);
    if (this.#ports.fixupException(regs)) return 0;
    return this.#die(call, regs, what, 0);
  }

  #invalidOp(call: HostCall): number {
    const regs = call.args[0];
    if (this.#userMode(regs)) return this.#signal(call, 'invalid opcode');
    const ip = this.#reg(regs, 'ip');
    const bug = this.#ports.findBug(ip);
    if (bug?.warning) {
      this.#warn(call, regs, bug);
      this.#core.mem.writeU64(regs + BigInt(R.ip), ip + 2n); // 0f 0b: ud2
      return 0;
    }
    if (bug) {
      this.#core.printk.log(KERN_DEFAULT, '------------[ cut here ]------------');
      const at = bug.file ? `${bug.file}:${bug.line}!` : `at ${hex16(ip)} [verbose debug info unavailable]`;
      this.#core.printk.log(2, bug.file ? `kernel BUG at ${at}` : `Kernel BUG ${at}`);
    }
    return this.#die(call, regs, 'invalid opcode', 0);
  }

  #warn(call: HostCall, regs: Addr, bug: { file?: string; line?: number }): void {
    const { printk } = this.#core;
    const task = this.#core.currentOf(call);
    printk.log(KERN_DEFAULT, '------------[ cut here ]------------');
    const where = this.#core.sym(this.#reg(regs, 'ip'));
    const at = bug.file ? `at ${bug.file}:${bug.line} ` : 'at ';
    printk.log(KERN_WARNING, `WARNING: CPU: ${call.cpu} PID: ${task.pid} ${at}${where}`);
    this.#core.taints |= 1 << TAINT_WARN;
    this.#dump(call, regs, KERN_WARNING, undefined);
    printk.log(KERN_WARNING, '---[ end trace 0000000000000000 ]---');
  }

  #generalProtection(call: HostCall): number {
    const [regs, error] = call.args;
    if (this.#userMode(regs)) return this.#signal(call, 'general protection fault');
    if (this.#ports.fixupException(regs)) return 0;
    const code = Number(BigInt.asUintN(32, error));
    const what = code ? 'general protection fault, probably for a selector' : 'general protection fault';
    return this.#die(call, regs, what, code);
  }

  #pageFault(call: HostCall): number {
    const [regs, errorCode] = call.args;
    const error = Number(BigInt.asUintN(32, errorCode));
    const address = this.#ports.cpu(call.cpu).cr2;
    if (this.#userMode(regs)) {
      const task = this.#core.currentOf(call);
      const [ip, sp] = [this.#reg(regs, 'ip'), this.#reg(regs, 'sp')];
      const hex = (v: bigint) => v.toString(16);
      this.#core.printk.log(
        KERN_INFO,
        `${task.comm}[${task.pid}]: segfault at ${hex(address)} ip ${hex16(ip)} sp ${hex16(sp)} error ${error.toString(16)}`,
      );
      return 1;
    }
    if (this.#ports.fixupException(regs)) return 0;
    this.#showFaultOops(address, error);
    return this.#die(call, regs, 'Oops', error, address);
  }

  /** show_fault_oops() */
  #showFaultOops(address: Addr, error: number): void {
    const { printk } = this.#core;
    const fetch = (error & 16) !== 0;
    if (fetch && (error & 1) !== 0) {
      printk.log(2, `kernel tried to execute NX-protected page - exploit attempt? (uid: 0)`);
    }
    if (address < 4096n) printk.alert(`BUG: kernel NULL pointer dereference, address: ${hex16(address)}`);
    else printk.alert(`BUG: unable to handle page fault for address: ${hex16(address)}`);
    const access = fetch ? 'instruction fetch' : error & 2 ? 'write access' : 'read access';
    printk.alert(`#PF: supervisor ${access} in kernel mode`);
    const reason = error & 1 ? 'permissions violation' : 'not-present page';
    printk.alert(`#PF: error_code(0x${error.toString(16).padStart(4, '0')}) - ${reason}`);
    // The engine runs without paging: there is no page table to dump.
    printk.log(KERN_INFO, 'PGD 0 P4D 0 ');
  }

  #doubleFault(call: HostCall): number {
    const regs = call.args[0];
    const { printk } = this.#core;
    const task = this.#core.currentOf(call);
    const sp = this.#reg(regs, 'sp');
    const inGuard = sp >> 32n === BigInt(STACK_HI) && Number(sp & BigInt(STACK_SLOT - 1)) <= THREAD_SIZE;
    if (inGuard) {
      const address = this.#ports.cpu(call.cpu).cr2 || sp;
      printk.emerg(
        `BUG: TASK stack guard page was hit at ${hex16(address)} (stack is ${hex16(task.stackBase)}..${hex16(task.stackTop - 1n)})`,
      );
      this.#die(call, regs, 'stack guard page', 0);
      this.#panic('stack guard hit');
    }
    printk.emerg('traps: PANIC: double fault, error_code: 0x0');
    this.#die(call, regs, 'double fault', 0);
    return this.#panic('Machine halted.');
  }

  #stackChk(call: HostCall): number {
    return this.#panic(`stack-protector: Kernel stack is corrupted in: ${this.#core.sym(call.caller)}`);
  }

  #panic(message: string): never {
    this.#core.printk.emerg(`Kernel panic - not syncing: ${message}`);
    throw new GuestPanic(message);
  }

  #signal(call: HostCall, what: string): number {
    const regs = call.args[0];
    const task = this.#core.currentOf(call);
    const [ip, sp] = [this.#reg(regs, 'ip'), this.#reg(regs, 'sp')];
    const text = `traps: ${task.comm}[${task.pid}] ${what} ip:${ip.toString(16)} sp:${sp.toString(16)} error:0`;
    this.#core.printk.log(KERN_INFO, text);
    return 1;
  }

  /** die(): the oops, and what must follow it. Returns 1: the task ends. */
  #die(call: HostCall, regs: Addr, what: string, error: number, cr2?: Addr): number {
    const { printk, events } = this.#core;
    const task = this.#core.currentOf(call);
    const from = printk.records.length;
    printk.log(KERN_DEFAULT, dieHeader(what, error, ++this.#dieCounter));
    this.#dump(call, regs, KERN_DEFAULT, cr2);
    this.#core.taints |= 1 << TAINT_DIE;
    printk.log(KERN_WARNING, '---[ end trace 0000000000000000 ]---');
    for (const line of this.#execSummary(call, regs)) printk.log(KERN_DEFAULT, line);
    const text = printk.records
      .slice(from)
      .map((r) => r.text)
      .join('\n');
    events.emit({ type: 'oops', pid: task.pid, comm: task.comm, text });
    const count = this.#core.percpu.readU32('__preempt_count', call.cpu) & 0x1fff00;
    if (count !== 0) this.#panic('Fatal exception in interrupt');
    if (task.isIdle) this.#panic('Attempted to kill the idle task!');
    if (task.pid === 1) this.#panic('Attempted to kill init! exitcode=0x0000000b');
    return 1;
  }

  #dump(call: HostCall, regs: Addr, level: number, cr2: Addr | undefined): void {
    const { printk } = this.#core;
    const task = this.#core.currentOf(call);
    const registers = this.#ptRegs(regs);
    const say = (line: string) => printk.log(level, line);
    say(this.#header(call.cpu, task));
    say(`Hardware name: ${HARDWARE}`);
    const options = this.#dumpOptions();
    for (const line of showRegs(registers, options, this.#systemRegs(call.cpu))) say(line);
    for (const line of showTrace(this.#ports.unwinder(), task, { regs: registers }, options)) say(line);
    say(this.#ports.modulesLinkedIn());
    if (cr2 !== undefined) say(`CR2: ${hex16(cr2)}`);
  }

  #execSummary(call: HostCall, regs: Addr): string[] {
    return showRegs(this.#ptRegs(regs), this.#dumpOptions(), this.#systemRegs(call.cpu));
  }

  /** dump_stack_print_info() */
  #header(cpu: number, task: TaskStruct): string {
    const version = `${STRINGS.UTS_RELEASE} #1`;
    return `CPU: ${cpu} PID: ${task.pid} Comm: ${task.comm} ${this.printTainted()} ${version}  Debian 6.1.192-2`;
  }

  /** print_tainted() */
  printTainted(): string {
    const { taints } = this.#core;
    if (taints === 0) return 'Not tainted';
    return `Tainted: ${TAINTS.map(([set, clear], bit) => (taints & (1 << bit) ? set : clear)).join('')}`;
  }

  #ptRegs(regs: Addr): PtRegs {
    const bytes = this.#core.mem.readBytes(regs, LAYOUT.pt_regs.size);
    return new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  }

  #dumpOptions(): DumpOptions {
    const { mem, symbols } = this.#core;
    return {
      symbolize: (addr, backtrace) => (backtrace ? symbols.formatReturn(addr) : symbols.format(addr)),
      readCode: (addr, size) => (mem.isMapped(addr, size) ? mem.readBytes(addr, size) : undefined),
      current: true,
    };
  }

  #systemRegs(id: number): SystemRegs {
    const cpu = this.#ports.cpu(id);
    return {
      fs: 0n,
      fsSel: 0,
      gs: this.#core.percpu.base[id],
      gsSel: 0,
      kernelGs: 0n,
      ds: 0,
      es: 0,
      cr0: 0x80050033n,
      cr2: cpu.cr2,
      cr3: 0n,
      cr4: 0x6f0n,
    };
  }
}
