// What the unwinders answer at an instruction, and whether that is the truth.
//
// Invariant: the answers are those of the unwinders that the machine uses, started as the kernel starts them:
// from the registers of an interrupt, or from where a task that a callee put to sleep was switched out. They leave the
// stack as it was: what code does hangs on no answer.

import type { PtRegsLayout } from '../arch/pt_regs.ts';
import type { PtRegs, UnwindSource } from '../arch/unwinders.ts';
import {
  ORC_REG_PREV_SP,
  ORC_REG_UNDEFINED,
  ORC_TYPE_CALL,
  type OrcEntry,
  type OrcTable,
  orcTableFromEntries,
  unpackOrcEntry,
} from '../elf/orc.ts';
import type { FrameTable } from '../frames/frame_table.ts';
import { type FrameRow, rowText } from '../frames/rows.ts';
import { OrcLookup } from '../unwind/orc_lookup.ts';
import { MAX_STACK_ENTRIES, StackTrace } from '../unwind/stacktrace.ts';
import { NONE } from '../unwind/unwind_state.ts';
import { callerRowAt } from './caller_rows.ts';
import { CALLER_LO, CALLER_SIZE, LAST_CALLER_LO, STACK_LO } from './check_layout.ts';
import { FrameRowFacts, USES_FP, USES_OTHERS } from './frame_row_facts.ts';
import { isBeyond, type LiveFrame, OUTERMOST } from './live_frames.ts';
import { INTERRUPT_ENTRIES, INTERRUPT_FRAMES, PreemptedStack } from './preempted_stack.ts';
import { RowKinds } from './row_kinds.ts';
import { whereabouts, whereIs } from './saved_registers.ts';
import { putLong } from './stack_words.ts';
import { FP, FP_REGISTER, INACTIVE, ORC, REGISTERS, SP, TABLES, TARGET, unwoundFrame } from './target.ts';
import type { Stand, Truth, Unwinder, UnwinderAnswer, Verdict } from './verdicts.ts';

const NO_FP = { fpOffset: 0, fpReg: ORC_REG_UNDEFINED, type: ORC_TYPE_CALL };
const CALLERS = orcTableFromEntries([
  { ...NO_FP, ip: CALLER_LO, spOffset: 8, spReg: ORC.sp, end: false },
  ...INTERRUPT_ENTRIES,
  { ...NO_FP, ip: LAST_CALLER_LO, spOffset: 0, spReg: ORC_REG_UNDEFINED, end: true },
]);
/** By what rows of ORC say. */
const KINDS = new RowKinds();
const REGISTER_OF = REGISTERS.ofPtRegs;
const PT_REGS = TARGET.ptRegs;
const IP = PT_REGS.words.indexOf(PT_REGS.pc);
const MODE = PT_REGS.words.indexOf(PT_REGS.mode.word);

export interface TextRange {
  readonly start: number;
  readonly size: number;
}

/** Rows that answers come from, ORC's or those of another table; frame pointers need none. */
interface JudgedTable {
  readonly orc?: OrcTable | undefined;
  readonly frames?: FrameTable | undefined;
}

/** Where the judged task stands: its stack and its registers, as halves. */
export interface JudgedState {
  readonly words: Uint32Array;
  readonly halves: Uint32Array;
  /** Calls that were followed, the innermost last. */
  readonly frames?: readonly LiveFrame[];
  /** It is the first that runs on its stack: nothing is to be found. */
  readonly hasNoCaller?: boolean;
}

export class Judge {
  readonly #state: JudgedState;
  readonly #lookup = new OrcLookup();
  readonly #orc: OrcTable | undefined;
  readonly #frames: FrameTable | undefined;
  readonly #facts: FrameRowFacts | undefined;
  /** The row last asked for, and the addresses that it is in force at: signed. */
  #row = -1;
  #rowFrom = 0;
  #rowTo = 0;
  /** By row one more than what it says, as numbered in KINDS; 0 where nobody asked yet. */
  readonly #kinds: Uint32Array;
  readonly #trace: StackTrace;
  #timedTrace: StackTrace | undefined;
  readonly #source: UnwindSource & { readonly ptRegs: PtRegsLayout };
  readonly #kind: Unwinder;
  readonly #regs = new Uint32Array(2 * PT_REGS.words.length);
  readonly #entries = new Uint32Array(MAX_STACK_ENTRIES);
  readonly #preempted: PreemptedStack;
  /** Words that a callee's frame is written over, and where: one more, for a stack pointer between two. */
  readonly #belowCall = new Uint32Array(INACTIVE.size / 4 + 1);
  #belowCallFrom = 0;
  readonly #task = { stackSlot: 0, onCpu: 0, spLo: 0 };

  constructor(
    state: JudgedState,
    ranges: readonly TextRange[],
    { orc, frames }: JudgedTable,
    kind: Unwinder,
  ) {
    this.#state = state;
    this.#frames = frames;
    this.#facts = frames && new FrameRowFacts(frames);
    this.#preempted = new PreemptedStack(state.words);
    this.#kind = kind;
    this.#orc = orc;
    this.#kinds = new Uint32Array(orc?.count ?? 0);
    const callers = [{ start: CALLER_LO, size: CALLER_SIZE }];
    this.#lookup.addText({ name: 'callers', ranges: callers, orc: CALLERS });
    this.#lookup.addText({ name: 'object', ranges, ...(orc ? { orc } : {}) });
    this.#source = { arena: { words: state.words }, lookup: this.#lookup, ptRegs: PT_REGS, retFromFork: 0 };
    this.#trace = new StackTrace({
      ...this.#source,
      unwinder: frames
        ? TABLES.unwinder({ rowAt: (ip) => this.#frameRowAt(ip) })
        : TARGET.unwinders[kind === 'orc' ? 'orc' : 'frame pointer'],
    });
    this.#regs[2 * MODE] = REGISTERS.kernelMode;
  }

  /** `ip`: low half of the instruction's address, or of the return address that its call leaves. */
  judge(stand: Stand, ip: number): Verdict {
    this.#start(stand, ip);
    const answer = this.#answer();
    const verdict = this.#verdict(stand, answer);
    this.#end(stand);
    return verdict;
  }

  #verdict(stand: Stand, answer: UnwinderAnswer): Verdict {
    // Nobody asks frame pointers for the stack pointer; of a realigned stack they would not know it.
    const spRight = this.#kind === 'fp' || answer.prevSp === this.#innermost.sp - STACK_LO;
    const right = spRight && answer.returnAddressRight && answer.prevFpRight;
    if (this.#state.hasNoCaller ? this.#isAtEnd() : right && this.#outerRight()) return 'right';
    const stored =
      stand !== 'interrupted'
        ? this.#trace.stackTraceSaveTskReliable(this.#task, this.#entries)
        : this.#trace.stackTraceSaveRegsReliable(this.#task, this.#regs, this.#entries);
    return stored >= 0 ? 'wrong, declared reliable' : 'wrong, declared unreliable';
  }

  /** Whether the walk ended well: at the last frame, or with the registers of a user. */
  #isAtEnd(): boolean {
    const { unwinder } = this.#trace;
    return !unwinder.error && (unwinder.done || (unwinder.regs !== NONE && unwinder.userMode()));
  }

  /** The row in force at an address; undefined for none. */
  entryAt(ip: number): OrcEntry | undefined {
    const index = this.#lookup.find(ip);
    return index < 0 ? undefined : unpackOrcEntry(this.#lookup.hit, index);
  }

  /** Whether one of the rows between two addresses is as asked. */
  someRow(from: number, to: number, wanted: (row: OrcEntry) => boolean): boolean {
    const table = this.#orc;
    if (!table) return false;
    for (let row = this.rowAt(from); row >= 0 && row < table.count && table.ip[row] < to; row++)
      if (wanted(unpackOrcEntry(table, row))) return true;
    return false;
  }

  /** The number of the row in force at an address, below 0 for none, and what it goes by. */
  rowAt(ip: number): number {
    if (this.#facts) return this.#facts.find(ip);
    if ((ip | 0) >= this.#rowFrom && (ip | 0) < this.#rowTo) return this.#row;
    const row = this.#lookup.find(ip);
    if (row < 0 || !this.#orc) return row;
    const { ip: addresses, count } = this.#orc;
    this.#row = row;
    this.#rowFrom = addresses[row] | 0;
    // No address at the end of the address space is text.
    this.#rowTo = row + 1 < count ? addresses[row + 1] | 0 : this.#rowFrom;
    return row;
  }
  /** Whether rows have kinds that mean the same in other tables. */
  get hasSharedKinds(): boolean {
    return this.#facts === undefined;
  }
  /** Up to where, from an address on, the row is in force that rowAt() was asked for there: signed. */
  rowEndAt(ip: number): number {
    const isKnown = this.#facts === undefined && ip >= this.#rowFrom && ip < this.#rowTo;
    return isKnown ? this.#rowTo : ip + 1;
  }
  /** What a row says: rows that say the same have one number, in whatever table of the process they are. */
  rowKind(row: number): number {
    // Those of other tables are one object for all that say the same.
    if (this.#facts) return row;
    const kinds = this.#kinds;
    if (kinds[row] !== 0) return kinds[row] - 1;
    const { flags, spOffset, fpOffset } = this.#orc as OrcTable;
    const kind = KINDS.kind(flags[row], (spOffset[row] << 16) | (fpOffset[row] & 0xffff));
    kinds[row] = kind + 1;
    return kind;
  }
  rowUses(row: number): number {
    if (this.#facts) return this.#facts.uses(row);
    const flags = (this.#orc as OrcTable).flags[row];
    const spReg = flags & 0xf;
    const fpReg = (flags >>> 4) & 0xf;
    if ((flags >>> 8) & 3) return USES_FP | USES_OTHERS;
    if (spReg === ORC.sp) return fpReg === ORC_REG_PREV_SP ? 0 : USES_FP;
    return spReg === ORC.fp || spReg === ORC_REG_UNDEFINED ? USES_FP : USES_FP | USES_OTHERS;
  }

  /** Where on the stack a right answer of the row has the frame pointer from: index of a word, below 0 for nowhere. */
  savedFpAt(row: number): number {
    if (this.#facts) return this.#facts.savedFpAt(row);
    const { flags, fpOffset } = this.#orc as OrcTable;
    if (((flags[row] >>> 4) & 0xf) !== ORC_REG_PREV_SP) return -1;
    return (OUTERMOST.sp + fpOffset[row] - STACK_LO) >> 2;
  }

  /** Of the place last judged, with distances from its stack pointer. */
  explain(stand: Stand, ip: number): { truth: Truth; answer: UnwinderAnswer; entry: string } {
    this.#start(stand, ip);
    const sp = this.#state.halves[SP];
    const { prevSp, ...answer } = this.#answer();
    this.#end(stand);
    const distance = prevSp === undefined ? undefined : prevSp + STACK_LO - sp;
    return {
      truth: this.#truth(sp),
      answer: { prevSp: distance, ...answer },
      entry: this.#kind === 'fp' ? 'frame pointer' : this.#entry(stand === 'called' ? (ip - 1) | 0 : ip),
    };
  }

  /** A walk of one frame, from registers of an interrupt at an address, for who measures how long it takes. */
  frameWalk(ip: number): () => void {
    this.#loadRegs(ip);
    const { unwinder } = this.#timed();
    return () => unwinder.startRegs(this.#task, this.#regs);
  }

  /** Tables are read as an unwinder reads them that has nothing but their bytes. */
  #timed(): StackTrace {
    const frames = this.#frames;
    if (!frames) return this.#trace;
    this.#timedTrace ??= new StackTrace({
      ...this.#source,
      unwinder: TABLES.unwinder({ rowAt: (ip) => frames.read(ip) ?? callerRowAt(ip) }),
    });
    return this.#timedTrace;
  }

  /** Of the table and of the code around, for an unwinder that goes by rows. */
  #frameRowAt(ip: number): FrameRow | undefined {
    const frames = this.#frames as FrameTable;
    const number = frames.find(ip);
    return number < 0 ? callerRowAt(ip) : frames.rows[number];
  }

  #entry(ip: number): string {
    if (this.#frames) {
      const row = this.#frameRowAt(ip);
      return row ? rowText(row, TABLES.registers) : 'none';
    }
    const index = this.#lookup.find(ip);
    return index < 0 ? 'none' : ORC.text(unpackOrcEntry(this.#lookup.hit, index));
  }

  #truth(sp: number): Truth {
    const { words, halves } = this.#state;
    const { [REGISTERS.fp.name]: fp, ...saved } = whereabouts(words, halves);
    const frame = this.#innermost;
    const prevFp =
      frame === OUTERMOST ? fp : whereIs(frame.fpLow, frame.fpHigh, FP_REGISTER, words, halves, frame.sp - 8);
    const hasNoCaller = this.#state.hasNoCaller === true;
    return {
      returnAddress: frame.sp - 8 - sp,
      prevSp: frame.sp - sp,
      prevFp,
      saved,
      ...(hasNoCaller ? { hasNoCaller } : {}),
    };
  }

  #start(stand: Stand, ip: number): void {
    const { halves } = this.#state;
    if (stand === 'called') {
      this.#sleep(halves, ip);
      this.#trace.unwinder.startInactive(this.#task);
      this.#trace.unwinder.next();
      return;
    }
    const regs = this.#loadRegs(ip);
    const { unwinder } = this.#trace;
    if (stand === 'interrupted') {
      unwinder.startRegs(this.#task, regs);
      return;
    }
    this.#task.spLo = this.#preempted.push(regs, halves[SP], halves[FP]);
    unwinder.startInactive(this.#task);
    for (let i = 0; i <= INTERRUPT_FRAMES; i++) unwinder.next();
  }

  /** The registers that an interrupt at an address saves. */
  #loadRegs(ip: number): PtRegs {
    const { halves } = this.#state;
    const regs = this.#regs;
    for (let i = 0; i < REGISTER_OF.length; i++) {
      const reg = REGISTER_OF[i];
      if (reg === undefined) continue;
      regs[2 * i] = halves[2 * reg];
      regs[2 * i + 1] = halves[2 * reg + 1];
    }
    regs[2 * IP] = ip;
    regs[2 * IP + 1] = 0xffffffff;
    return regs;
  }

  /** Takes back what was written for an answer: code may read what it left below the stack pointer. */
  #end(stand: Stand): void {
    if (stand === 'preempted') this.#preempted.pop();
    else if (stand === 'called') this.#state.words.set(this.#belowCall, this.#belowCallFrom);
  }

  /** The callee's frame of a task that was switched out there, below the stack pointer. */
  #sleep(halves: Uint32Array, ip: number): void {
    const { words } = this.#state;
    const sp = halves[SP] - INACTIVE.size;
    this.#task.spLo = sp;
    this.#belowCallFrom = (sp - STACK_LO) >>> 2;
    for (let i = 0; i < this.#belowCall.length; i++) this.#belowCall[i] = words[this.#belowCallFrom + i];
    putLong(words, sp + INACTIVE.fp, halves[FP], halves[FP + 1]);
    putLong(words, sp + INACTIVE.pc, ip, 0xffffffff);
  }

  get #innermost(): LiveFrame {
    return this.#state.frames?.at(-1) ?? OUTERMOST;
  }

  /** Whether the walk goes on through the other calls that were followed, to the caller of the first. */
  #outerRight(): boolean {
    const frames = this.#state.frames ?? [];
    const last = isBeyond(frames) ? 0 : -1;
    for (let i = frames.length - 2; i >= last && frames.length > 0; i--) {
      this.#trace.unwinder.next();
      const frame = frames[i] ?? OUTERMOST;
      const { prevSp, returnAddressRight, prevFpRight } = this.#answer(frame);
      const spRight = this.#kind === 'fp' || prevSp === frame.sp - STACK_LO;
      if (!spRight || !returnAddressRight || !prevFpRight) return false;
    }
    return true;
  }

  #answer(truth = this.#innermost): UnwinderAnswer {
    const { unwinder } = this.#trace;
    const none = { prevSp: undefined, prevFpRight: false, returnAddressRight: false };
    if (unwinder.done || unwinder.error) return none;
    const returnAddressRight = unwinder.ip === (truth.returnIp | 0);
    const frame = unwoundFrame(unwinder, this.#state.words, truth.fpLow, truth.fpHigh);
    return frame ? { prevSp: frame.prevSp, prevFpRight: frame.fpRight, returnAddressRight } : none;
  }
}
