// A check of one object: every function explored, every instruction judged, the wrong ones listed.

import type { OrcFormat } from '../arch/orc.ts';
import { ElfObject } from '../elf/elf_object.ts';
import { FrameTable } from '../frames/frame_table.ts';
import type { ObjectFrames } from '../frames/rows.ts';
import { inputFromElf } from '../objtool/elf_input.ts';
import type { ObjtoolInput } from '../objtool/input.ts';
import { type Code, IN_ALT_GROUP, placeName } from '../objtool/insn.ts';
import { orcFormatOf, readOrc } from '../objtool/orc_format_of.ts';
import { readCode } from '../objtool/orc_gen.ts';
import { type OrcRows, rowsAt } from '../objtool/orc_rows.ts';
import { bytesOf, undecodedPlaces } from '../objtool/undecoded.ts';
import { wasKernel } from '../objtool/vmlinux.ts';
import { CalledPlaces } from './called_places.ts';
import type { CheckGuest } from './check_guest.ts';
import { EngineExecutor } from './engine_executor.ts';
import { CALLED, type Entered, enteredBy, saysRegisters } from './entered.ts';
import { Forms } from './forms.ts';
import { FrameMap } from './frame_map.ts';
import { rulesOf } from './frame_rules.ts';
import { readFrames } from './frame_tables.ts';
import { FrameTimer } from './frame_timer.ts';
import { FunctionLists } from './function_lists.ts';
import { FunctionReports } from './function_reports.ts';
import { Judge, type TextRange } from './judge.ts';
import { isBeyond } from './live_frames.ts';
import { loadText } from './loaded_text.ts';
import { QuickJudge } from './quick_judge.ts';
import type { QuickAnswers } from './quick_walk.ts';
import { replaceRefused, withoutSkipped } from './refused.ts';
import { SavedRules } from './saved_rules.ts';
import { TARGET } from './target.ts';
import { countsOf, GRAVITY, notCoveredOf } from './totals.ts';
import type {
  FrameMapReport,
  FrameRange,
  FrameReport,
  FunctionReport,
  NotLookedAt,
  ObjectCheck,
  ProofAt,
  Stand,
  Unwinder,
  Verdict,
  WrongPlace,
} from './verdicts.ts';
import { Walk, type WalkOptions } from './walk.ts';

export interface CheckOptions {
  readonly unwinder: Unwinder;
  /** Instead of the object's own. */
  readonly orc?: OrcRows;
  /** How the object's own is to be read, where the object does not say. */
  readonly format?: OrcFormat;
  /** The object's instructions, where they have been read: they are not changed. */
  readonly code?: Code;
  /** Calls within the object are followed as well, and all frames that are live then are asked for. */
  readonly into?: boolean;
  /** How long a frame takes is measured as well. */
  readonly timed?: boolean;
  /** How many wrong places of one verdict to list. */
  readonly listed?: number;
}

/** A listing with hundreds of thousands of places helps nobody; all are counted. */
const LISTED = 200;

/** Text to check, and the table that it comes with. */
export interface CheckSubject {
  readonly input: ObjtoolInput;
  readonly orc: OrcRows | undefined;
  /** Another table in its place, and the object that has it. */
  readonly frames?: ObjectFrames | undefined;
  readonly elf?: ElfObject;
  /** The same text with relocations for its operands, where `input` has them resolved. */
  readonly loaded?: ObjtoolInput;
  /** Functions that are left out, by name: what is true of them is not what is asked. */
  readonly except?: ReadonlySet<string>;
}

function fromElf(elf: ElfObject, { unwinder, orc, format, code }: CheckOptions): CheckSubject {
  if (unwinder !== 'orc') {
    return {
      input: inputFromElf(elf, TARGET.code, format),
      orc: undefined,
      elf,
      frames: readFrames(elf, unwinder),
    };
  }
  const own = orc ? format : (orcFormatOf(elf, TARGET.code.orc, format)?.format ?? format);
  return {
    input: code?.input ?? inputFromElf(elf, TARGET.code, own),
    orc: orc ? undefined : readOrc(elf, TARGET.code.orc, own),
  };
}

/** Stack pointers that an instruction is executed with; each depth of calls that are followed has its own. */
const MOST_VISITS = 3;
const MOST_VISITS_INTO = 8;

function optionsOfWalk({ context }: CheckGuest, into = false): WalkOptions {
  const mostVisits = into ? MOST_VISITS_INTO : MOST_VISITS;
  return { registerWords: context.halves.length, mostVisits, into };
}

export class ObjectChecker {
  readonly #code: Code;
  readonly #engineText: Uint8Array;
  readonly #judge: Judge;
  /** The same, where it need not be asked at each instruction. */
  readonly #quick: QuickJudge | undefined;
  /** What it knows of instructions that are judged by themselves. */
  readonly #answers: QuickAnswers | undefined;
  readonly #walk: Walk;
  readonly #forms: Forms;
  readonly #engine: EngineExecutor;
  readonly #ranges: readonly TextRange[];
  /** Of ORC: others have none for code that is not called. */
  readonly #hasRows: boolean;
  /** Code of an object that is not called has no type of functions, and is not judged. */
  readonly #isKernel: boolean;
  /** By section: 1 where code stands that is copied over other code. */
  readonly #isReplacement: Uint8Array;
  readonly #calls: CalledPlaces;
  /** By instruction the worst verdict; 0 where none was given. */
  readonly #worst: Uint8Array;
  readonly #frames: FrameMap | undefined;
  readonly #places: WrongPlace[] = [];
  readonly #listed: number;
  readonly #listedOf = new Map<Verdict, number>();
  readonly #guest: CheckGuest;
  readonly #except: ReadonlySet<string>;
  readonly #table: string | undefined;
  readonly #savedRules: SavedRules | undefined;
  readonly #timer: FrameTimer | undefined;
  #omitted = 0;
  /** Of one function, by instruction: who asks about one place often asks about others near it. */
  readonly #proofs = new Map<number, ProofAt>();
  #proved = 0;
  /** Called at every judged instruction of a proof. */
  #watch: ((insn: number, verdict: Verdict) => void) | undefined;

  constructor(guest: CheckGuest, subject: ElfObject | CheckSubject, options: CheckOptions) {
    const { input, orc, loaded, except, frames, elf } =
      subject instanceof ElfObject ? fromElf(subject, options) : subject;
    const code = options.code ?? readCode(input);
    const text = loadText(code, loaded);
    if (guest.engine.readsAhead) replaceRefused(text, code);
    this.#isReplacement = Uint8Array.from(input.sections, ({ replacement }) => Number(replacement));
    this.#guest = guest;
    this.#except = except ?? new Set();
    this.#code = code;

    this.#engineText = guest.engine.readsAhead ? withoutSkipped(text, code) : text.bytes;
    this.#listed = options.listed ?? LISTED;
    const rows = options.unwinder === 'orc' ? (options.orc ?? orc) : undefined;
    this.#ranges = input.sections.flatMap(({ bytes }, i) =>
      text.start[i] === 0 ? [] : [{ start: text.start[i], size: bytes.length }],
    );
    const table = rows && rowsAt(rows, text.addrOf);
    this.#frames = options.unwinder === 'fp' ? new FrameMap(guest, code, text) : undefined;
    this.#worst = new Uint8Array(code.count + 1);
    const visitor = {
      at: (insn: number) => this.#at(insn),
      call: (insn: number) => this.#call(insn),
    };
    this.#calls = new CalledPlaces(code, (func) => this.#enteredBy(func).how === 'called');
    this.#forms = new Forms(code, text);
    this.#walk = new Walk(code, text, visitor, optionsOfWalk(guest, options.into));
    const executor: EngineExecutor = new EngineExecutor(guest, this.#walk, options.into);
    this.#engine = executor;
    executor.hasRegisters = (func) => this.#hasRegisters(func);
    this.#isKernel = subject instanceof ElfObject && wasKernel(subject);
    this.#hasRows = table !== undefined;
    const placed = frames && elf && FrameTable.of(elf, frames, (section) => text.start[section]);
    this.#table = frames?.format;
    this.#savedRules =
      placed && options.unwinder === 'dwarf' ? new SavedRules(placed, code.count + 1) : undefined;
    this.#timer = options.timed ? new FrameTimer() : undefined;
    this.#judge = new Judge(executor, this.#ranges, { orc: table, frames: placed }, options.unwinder);
    this.#quick = !(table || placed) || options.into ? undefined : new QuickJudge(this.#judge, executor);
    this.#answers = this.#quick && { quick: this.#quick, worst: this.#worst };
  }

  check(): ObjectCheck {
    const functions: FunctionReport[] = [];
    const reports = new FunctionReports(this.#code, this.#forms, this.#worst);
    const frames: FrameReport[] = [];
    const instructions = new FunctionLists(this.#code);
    this.#guest.loadText(this.#engineText);
    this.#walk.visits.clear();
    this.#engine.skips.clear();
    this.#worst.fill(0);
    this.#places.length = 0;
    this.#listedOf.clear();
    this.#omitted = 0;
    this.#quick?.prepare(this.#walk);
    for (const func of this.#functions()) {
      this.#explore(func);
      functions.push(reports.of(func, instructions, this.#walk.ends));
      if (this.#frames) frames.push(this.#frames.report(func, Array.from(instructions.of(func))));
    }
    const { skips } = this.#engine;
    return {
      ...countsOf(functions),
      skipped: skips.total,
      skippedBecause: skips.byReason(),
      notCovered: notCoveredOf(functions),
      notLookedAt: this.#notLookedAt(functions),
      places: this.#places,
      omitted: this.#omitted,
      ...(this.#table && { table: this.#table }),
      ...(this.#savedRules && {
        savedRules: this.#savedRules.report((insn: number) => placeName(this.#code, insn)),
      }),
      ...(this.#timer && { frameTime: this.#timer.time }),
      ...(this.#frames && { frames: this.#frameMap(frames, this.#frames.outside()) }),
    };
  }

  #frameMap(functions: readonly FrameReport[], outside: readonly FrameRange[]): FrameMapReport {
    return { functions, outside, rules: rulesOf(functions, outside) };
  }

  /** Gives what was made for it to the next one: nothing of it may be used any more. */
  release(): void {
    this.#walk.visits.release();
    this.#code.release();
  }

  #at(insn: number): void {
    const home = this.#code.flags[insn] & IN_ALT_GROUP ? this.#forms.home(insn) : insn;
    if (!this.#isJudged(insn, home)) return;
    const ip = home === insn ? this.#ip(insn) : this.#forms.ip(insn);
    if (this.#savedRules && !this.#watch && this.#engine.frames.length === 0)
      this.#savedRules.at(home, ip, this.#engine.words, this.#guest.context.halves);
    if (this.#timer && !this.#watch) this.#timer.at(() => this.#judge.frameWalk(ip));
    if (this.#isQuick && this.#quick?.rightAt(ip)) {
      if (this.#worst[home] === 0) this.#worst[home] = GRAVITY.right;
      return;
    }
    this.#consider(home, 'interrupted', ip);
    // Frame pointers have nothing to say across an interrupt: such a trace is rejected at once.
    // Nor has anything that is entered with interrupts off: what may come there has a stack of its own.
    if (!this.#frames && this.#engine.entered.how === 'called') this.#consider(home, 'preempted', ip);
  }

  #call(insn: number): void {
    // In its own place nothing is called: ftrace's trampoline makes the frames that its call has not.
    if (!this.#isJudged(insn, this.#forms.home(insn)) || this.#frames?.isFentry(insn)) return;
    const ip = (this.#forms.ip(insn) + this.#code.length[insn]) | 0;
    if (this.#isQuick && this.#quick?.rightCalled(ip)) return;
    this.#consider(this.#forms.home(insn), 'called', ip);
  }

  /** What is known of other functions holds of those that are entered as they are, and have that frame. */
  get #isQuick(): boolean {
    return !this.#watch && this.#engine.entered === CALLED && this.#engine.frames.length === 0;
  }

  /** Jumps out of functions are followed; what is no function (entry code, thunks) is not judged. */
  #isJudged(insn: number, home: number): boolean {
    const code = this.#code;
    if (home === 0 || code.func[home] === 0 || this.#isReplacement[code.section[home]] !== 0) return false;
    // Frame pointers go by the code as it is.
    if (this.#frames && home !== insn) return false;
    // What entry code calls is judged by itself.
    return this.#engine.entered.how === 'called' || !this.#walk.ends.isForeign(home);
  }

  /**
   * Execution as the judge of one instruction, whatever was checked before, and by whichever checker of the
   * guest; undefined where no path leads there. Where paths bring several states, the worst of the verdicts.
   */
  proveAt(section: string, offset: number): ProofAt | undefined {
    const index = this.#code.input.sections.findIndex(({ name, text }) => text && name === section);
    const wanted = index < 0 ? 0 : this.#code.at(index, offset);
    const func = wanted === 0 ? 0 : this.#code.func[wanted];
    if (func === 0) return undefined;
    const entry = this.#code.parent[func] || func;
    if (entry !== this.#proved) this.#proveAll(entry);
    return this.#proofs.get(wanted);
  }

  /** Of every instruction that is reached from the function, its gravest answer. */
  #proveAll(func: number): void {
    this.#proofs.clear();
    this.#proved = 0;
    this.#watch = (insn, verdict) => {
      const known = this.#proofs.get(insn);
      if (known && GRAVITY[known.verdict] >= GRAVITY[verdict]) return;
      const { truth, answer, entry } = this.#judge.explain('interrupted', this.#ip(insn));
      this.#proofs.set(insn, { truth, answer, entry, verdict });
    };
    this.#guest.loadText(this.#engineText);
    // Where it has been before does not count.
    this.#walk.visits.clear();
    this.#explore(func);
    this.#watch = undefined;
    this.#proved = func;
  }

  /** From its entry, as its table says that it is entered. */
  #explore(func: number): void {
    const entered = this.#enteredBy(func);
    this.#engine.entered = entered.how !== 'called' && this.#isCalled(func, entered) ? CALLED : entered;
    const isAsked = this.#watch || this.#timer || this.#savedRules || this.#engine.entered !== CALLED;
    this.#engine.answers = isAsked ? undefined : this.#answers;
    this.#walk.explore(func, this.#engine);
    this.#engine.entered = CALLED;
  }

  /** What others call has a caller, and what returns was called, whatever its table says. */
  #isCalled(func: number, { how }: Entered): boolean {
    return how === 'first on its stack' ? this.#calls.has(func) : this.#calls.returns(func);
  }

  /** What the first row of its table says. */
  #enteredBy(func: number): Entered {
    if (!this.#hasRows || !this.#isKernel) return CALLED;
    const { section, value } = this.#code.input.symbols;
    return enteredBy(this.#judge.entryAt(this.#walk.text.start[section[func]] + value[func]));
  }

  #hasRegisters(func: number): boolean {
    const { section, value, size } = this.#code.input.symbols;
    const start = this.#walk.text.start[section[func]] + value[func];
    if (this.#walk.text.start[section[func]] === 0 || !this.#hasRows) return false;
    return this.#judge.someRow(start, start + size[func], saysRegisters);
  }

  #ip(insn: number): number {
    return this.#walk.ip(insn);
  }

  #consider(insn: number, stand: Stand, ip: number): void {
    const verdict = this.#judge.judge(stand, ip);
    if (this.#watch) {
      // A proof is no part of the check's sums.
      if (stand === 'interrupted') this.#watch(insn, verdict);
      return;
    }
    const worst = this.#worst[insn];
    this.#worst[insn] = Math.max(worst, GRAVITY[verdict]);
    if (this.#engine.frames.length === 0 || isBeyond(this.#engine.frames))
      this.#frames?.note(insn, stand, verdict);
    // The same instruction called and interrupted, or reached twice, is one place.
    if (verdict === 'right' || this.#worst[insn] === worst) return;
    // Those that matter most are listed however many others there are.
    const count = this.#listedOf.get(verdict) ?? 0;
    this.#listedOf.set(verdict, count + 1);
    if (count >= this.#listed) this.#omitted++;
    else this.#places.push(this.#wrongPlace(insn, stand, ip, verdict));
  }

  #wrongPlace(insn: number, stand: Stand, ip: number, verdict: Verdict): WrongPlace {
    const code = this.#code;
    const { section, offset, length } = code;
    const start = offset[insn];
    const bytes = code.input.sections[section[insn]].bytes.subarray(start, start + length[insn]);
    return {
      section: code.input.sections[section[insn]].name,
      offset: offset[insn],
      place: placeName(code, insn),
      stand,
      verdict,
      disassembly: Buffer.from(bytes).toString('hex'),
      ...this.#judge.explain(stand, ip),
    };
  }

  /** Entries of functions: cold parts are reached from theirs. */
  #functions(): readonly number[] {
    const { funcs, parent, input } = this.#code;
    return funcs.filter(
      (f) =>
        (parent[f] === f || parent[f] === 0) &&
        !input.sections[input.symbols.section[f]].replacement &&
        !this.#except.has(input.symbols.name(f)),
    );
  }

  #notLookedAt(functions: readonly FunctionReport[]): NotLookedAt {
    const places = undecodedPlaces(this.#code);
    return {
      bytes: bytesOf(places),
      places: places.slice(0, this.#listed),
      instructions: functions.reduce((sum, { unseen = 0 }) => sum + unseen, 0),
      functions: functions.filter(({ instructions }) => instructions === 0).map(({ name }) => name),
      falls: functions.flatMap(({ name, falls = [] }) => falls.map((into) => ({ name, into }))),
    };
  }
}
