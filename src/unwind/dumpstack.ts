// What an oops prints: the call trace, registers and code bytes, in the kernel's format.
// Mirrors arch/x86/kernel/dumpstack.c; the lines of the registers themselves are the port's.
//
// Invariant: a line without `? ` is a frame the unwinder vouches for; all else that looks like text on the
// stack is printed with it, so that a lost walk loses no clue.

import type { Arch } from '../arch/arch.ts';
import { ptRegsOffset, ptRegsSize, readPtReg } from '../arch/pt_regs.ts';
import type { ReadRegister, SystemState, WhereLines } from '../arch/show_regs.ts';
import type { PtRegs, Unwinder, UnwindTask } from '../arch/unwinders.ts';
import { THREAD_SIZE } from './stack_slots.ts';
import { NONE } from './unwind_state.ts';

export interface DumpOptions {
  readonly arch: Pick<Arch, 'ptRegs' | 'showRegs'>;
  /**
   * `sym+0xoff/0xsize [mod]`, or `0x...` for an address without a symbol. `backtrace`: the address is a return
   * address, so the symbol is that of the byte before it (%pB), which differs after a call that never returns.
   */
  readonly symbolize: (addr: bigint, backtrace: boolean) => string;
  /** Bytes of code, or undefined where they cannot be read. */
  readonly readCode?: (addr: bigint, size: number, userMode: boolean) => Uint8Array | undefined;
  /** Whether the task is `current`: only its own user code can be read. */
  readonly current?: boolean;
}

/** Where a trace starts: given registers (an exception), else where a switched-out task sleeps. */
interface TraceStart {
  readonly regs?: PtRegs;
  /** Low 32 bits of the stack address to begin to scan at, if not the stack pointer. */
  readonly stack?: number;
}

const PROLOGUE_SIZE = 42;
const EPILOGUE_SIZE = 21;

/** show_trace_log_lvl(): `Call Trace:` and what follows, one string a line. */
export function showTrace(
  unwinder: Unwinder,
  task: UnwindTask,
  start: TraceStart,
  options: DumpOptions,
): string[] {
  const lines = ['Call Trace:'];
  if (start.regs !== undefined) unwinder.startRegs(task, start.regs);
  else unwinder.startInactive(task);
  const { ptRegs } = options.arch;
  const pc = ptRegsOffset(ptRegs, ptRegs.pc);
  let at = firstWord(unwinder, task, start, ptRegsOffset(ptRegs, ptRegs.sp) >> 2);
  if (at < 0 || at >= THREAD_SIZE) at = (at + 0xfff) & ~0xfff;
  if (at < 0 || at >= THREAD_SIZE) return lines;

  lines.push(' <TASK>');
  let regs = unwinder.hasRegs() ? unwinder.regs : NONE;
  showRegsIfOnStack(unwinder, regs, options, lines);
  for (; at < THREAD_SIZE; at += 8) {
    if (!unwinder.lookup.kernelTextAddress(unwinder.textWordAt(at))) continue;
    if (regs === NONE || at !== regs + pc) {
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
export function showRegs(regs: PtRegs, options: DumpOptions, system?: SystemState): string[] {
  const { ptRegs, showRegs: port } = options.arch;
  const read: ReadRegister = (name) => readPtReg(ptRegs, regs, name);
  const lines = port.lines(read, whereLines(options, options.current === true), false);
  if (system !== undefined) lines.push(...port.system(read, system));
  return lines;
}

/** show_opcodes(): the bytes around ip with the one at ip in angle brackets; no line for code out of reach. */
export function showOpcodes(ip: bigint, userMode: boolean, own: boolean, options: DumpOptions): string[] {
  if (userMode && !own) return [];
  const from = BigInt.asUintN(64, ip - BigInt(PROLOGUE_SIZE));
  const bytes = options.readCode?.(from, PROLOGUE_SIZE + 1 + EPILOGUE_SIZE, userMode);
  if (bytes === undefined) return [`Code: Unable to access opcode bytes at 0x${from.toString(16)}.`];
  const text = Array.from(bytes, (b) => b.toString(16).padStart(2, '0'));
  text[PROLOGUE_SIZE] = `<${text[PROLOGUE_SIZE]}>`;
  return [`Code: ${text.join(' ')}`];
}

/** @param sp word of the stack pointer in struct pt_regs */
function firstWord(unwinder: Unwinder, task: UnwindTask, start: TraceStart, sp: number): number {
  if (start.stack !== undefined) return align(unwinder.offsetOf(start.stack));
  if (start.regs === undefined) return align(unwinder.offsetOf(task.spLo));
  return align(unwinder.offsetOfAddress(start.regs[sp], start.regs[sp + 1]));
}

function showRegsIfOnStack(unwinder: Unwinder, regs: number, options: DumpOptions, lines: string[]): void {
  if (regs === NONE || !unwinder.regsReadable(regs)) return;
  const { ptRegs, showRegs: port } = options.arch;
  const read: ReadRegister = (name) => unwinder.regsValue(regs, ptRegsOffset(ptRegs, name));
  const own = options.current === true && regs === THREAD_SIZE - ptRegsSize(ptRegs);
  lines.push(...port.lines(read, whereLines(options, own), unwinder.partial()));
}

function whereLines(options: DumpOptions, own: boolean): WhereLines {
  return {
    pc: (addr, userMode) => (userMode ? `0x${addr.toString(16)}` : options.symbolize(addr, false)),
    code: (addr, userMode) => showOpcodes(addr, userMode, own, options),
  };
}

const align = (offset: number): number => (offset + 7) & ~7;
