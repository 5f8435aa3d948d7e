// What an oops prints: the call trace, registers and code bytes, in the kernel's format.
// Mirrors arch/x86/kernel/dumpstack.c and __show_regs() of arch/x86/kernel/process_64.c.
//
// Invariant: a line without `? ` is a frame the unwinder vouches for; all else that looks like text on the
// stack is printed with it, so that a lost walk loses no clue.

import type { PtRegs, UnwindTask } from './ports.ts';
import { PT_IP, PT_REGS_NAMES, PT_REGS_SIZE, PT_SP, type PtRegsName, ptReg, THREAD_SIZE } from './ports.ts';
import { NONE, type UnwindState } from './unwind_state.ts';

export interface DumpOptions {
  /**
   * `sym+0xoff/0xsize [mod]`, or `0x...` for an address without a symbol. `backtrace`: the address is a return
   * address, so the symbol is that of the byte before it (%pB), which differs after a call that never returns.
   */
  readonly symbolize: (addr: bigint, backtrace: boolean) => string;
  /** Bytes of code, or undefined where they cannot be read. */
  readonly readCode?: (addr: bigint, size: number) => Uint8Array | undefined;
  /** Whether the task is `current`: only its own user code can be read. */
  readonly current?: boolean;
}

/** Where a trace starts: given registers (an exception), else where a switched-out task sleeps. */
interface TraceStart {
  readonly regs?: PtRegs;
  /** Low 32 bits of the stack address to begin to scan at, if not the stack pointer. */
  readonly stack?: number;
}

/** Registers of the CPU that are not in pt_regs. */
export interface SystemRegs {
  readonly fs: bigint;
  readonly fsSel: number;
  readonly gs: bigint;
  readonly gsSel: number;
  readonly kernelGs: bigint;
  readonly ds: number;
  readonly es: number;
  readonly cr0: bigint;
  readonly cr2: bigint;
  readonly cr3: bigint;
  readonly cr4: bigint;
}

type ReadReg = (name: PtRegsName) => bigint;

const PROLOGUE_SIZE = 42;
const EPILOGUE_SIZE = 21;

/** show_trace_log_lvl(): `Call Trace:` and what follows, one string a line. */
export function showTrace(
  unwinder: UnwindState,
  task: UnwindTask,
  start: TraceStart,
  options: DumpOptions,
): string[] {
  const lines = ['Call Trace:'];
  if (start.regs !== undefined) unwinder.startRegs(task, start.regs);
  else unwinder.startInactive(task);
  let at = firstWord(unwinder, task, start);
  if (at < 0 || at >= THREAD_SIZE) at = (at + 0xfff) & ~0xfff;
  if (at < 0 || at >= THREAD_SIZE) return lines;

  lines.push(' <TASK>');
  let regs = unwinder.hasRegs() ? unwinder.regs : NONE;
  showRegsIfOnStack(unwinder, regs, options, lines);
  for (; at < THREAD_SIZE; at += 8) {
    if (!unwinder.lookup.kernelTextAddress(unwinder.textWordAt(at))) continue;
    if (regs === NONE || at !== regs + PT_IP) {
      const reliable = at === unwinder.returnAddressAt();
      const symbol = options.symbolize(unwinder.wordAt(at) as bigint, true);
      lines.push(` ${reliable ? '' : '? '}${symbol}`);
      if (!reliable) continue;
    }
    unwinder.next();
    regs = unwinder.hasRegs() ? unwinder.regs : NONE;
    showRegsIfOnStack(unwinder, regs, options, lines);
  }
  lines.push(' </TASK>');
  return lines;
}

/** __show_regs(): SHOW_REGS_SHORT without `system`, SHOW_REGS_ALL with it. */
export function showRegs(regs: PtRegs, options: DumpOptions, system?: SystemRegs): string[] {
  const lines = formatRegs((name) => ptReg(regs, name), options, options.current === true);
  if (system === undefined) return lines;
  const { fs, fsSel, gs, gsSel, kernelGs, ds, es, cr0, cr2, cr3, cr4 } = system;
  const cs = ptReg(regs, 'cs');
  if ((cs & 3n) !== 0n) {
    lines.push(`FS:  ${hex16(fs)} GS:  ${hex16(kernelGs)}`);
    return lines;
  }
  lines.push(
    `FS:  ${hex16(fs)}(${hex4(fsSel)}) GS:${hex16(gs)}(${hex4(gsSel)}) knlGS:${hex16(kernelGs)}`,
    `CS:  ${hex4(cs)} DS: ${hex4(ds)} ES: ${hex4(es)} CR0: ${hex16(cr0)}`,
    `CR2: ${hex16(cr2)} CR3: ${hex16(cr3)} CR4: ${hex16(cr4)}`,
  );
  return lines;
}

/** __die_header(): the first line of an oops. `kernel` names what it was built and booted with. */
export function dieHeader(
  what: string,
  errorCode: number,
  count: number,
  kernel = ' PREEMPT SMP NOPTI',
): string {
  return `${what}: ${hex4(errorCode & 0xffff)} [#${count}]${kernel}`;
}

/** show_opcodes(): the bytes around ip with the one at ip in angle brackets; no line for code out of reach. */
export function showOpcodes(ip: bigint, userMode: boolean, own: boolean, options: DumpOptions): string[] {
  if (userMode && !own) return [];
  const from = BigInt.asUintN(64, ip - BigInt(PROLOGUE_SIZE));
  const bytes = options.readCode?.(from, PROLOGUE_SIZE + 1 + EPILOGUE_SIZE);
  if (bytes === undefined) return [`Code: Unable to access opcode bytes at 0x${from.toString(16)}.`];
  const text = Array.from(bytes, (b) => b.toString(16).padStart(2, '0'));
  text[PROLOGUE_SIZE] = `<${text[PROLOGUE_SIZE]}>`;
  return [`Code: ${text.join(' ')}`];
}

function firstWord(unwinder: UnwindState, task: UnwindTask, start: TraceStart): number {
  if (start.stack !== undefined) return align(unwinder.offsetOf(start.stack));
  if (start.regs === undefined) return align(unwinder.offsetOf(task.spLo));
  return align(unwinder.offsetOfAddress(start.regs[PT_SP >> 2], start.regs[(PT_SP >> 2) + 1]));
}

function showRegsIfOnStack(unwinder: UnwindState, regs: number, options: DumpOptions, lines: string[]): void {
  if (regs === NONE || !unwinder.regsReadable(regs)) return;
  const read: ReadReg = (name) => unwinder.regsValue(regs, PT_REGS_NAMES.indexOf(name) * 8);
  const own = options.current === true && regs === THREAD_SIZE - PT_REGS_SIZE;
  lines.push(...(unwinder.partial() ? formatIretRegs(read, options, own) : formatRegs(read, options, own)));
}

function formatIretRegs(read: ReadReg, options: DumpOptions, own: boolean): string[] {
  const ip = read('ip');
  const userMode = (read('cs') & 3n) !== 0n;
  const symbol = userMode ? `0x${ip.toString(16)}` : options.symbolize(ip, false);
  return [
    `RIP: ${hex4(read('cs'))}:${symbol}`,
    ...showOpcodes(ip, userMode, own, options),
    `RSP: ${hex4(read('ss'))}:${hex16(read('sp'))} EFLAGS: ${hex(read('flags'), 8)}`,
  ];
}

function formatRegs(read: ReadReg, options: DumpOptions, own: boolean): string[] {
  const lines = formatIretRegs(read, options, own);
  const origAx = read('orig_ax');
  if (origAx !== 0xffffffffffffffffn) lines[lines.length - 1] += ` ORIG_RAX: ${hex16(origAx)}`;
  const row = (...names: [label: string, name: PtRegsName][]): string =>
    names.map(([label, name]) => `${label}: ${hex16(read(name))}`).join(' ');
  lines.push(
    row(['RAX', 'ax'], ['RBX', 'bx'], ['RCX', 'cx']),
    row(['RDX', 'dx'], ['RSI', 'si'], ['RDI', 'di']),
    row(['RBP', 'bp'], ['R08', 'r8'], ['R09', 'r9']),
    row(['R10', 'r10'], ['R11', 'r11'], ['R12', 'r12']),
    row(['R13', 'r13'], ['R14', 'r14'], ['R15', 'r15']),
  );
  return lines;
}

const align = (offset: number): number => (offset + 7) & ~7;
const hex = (value: bigint | number, width: number): string =>
  BigInt.asUintN(64, BigInt(value)).toString(16).padStart(width, '0');
const hex16 = (value: bigint): string => hex(value, 16);
const hex4 = (value: bigint | number): string => hex(BigInt(value) & 0xffffffffn, 4);
