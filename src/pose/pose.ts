// A posed task: it stands in a chain of functions of its kernel, with the frames that their code makes, and sleeps. Most of a kernel
// cannot be executed on a machine without devices to the point where it sleeps; its frames can.
//
// It begins as a task that sleeps in clock_nanosleep(). When that one has gone to sleep, what lies below its system call's frame
// is exchanged for the frames of the chain, with the scheduler's below them; when it is switched to again, they are put back: the
// stack is cut at the system call's frame, and the task goes through the real exit work. Whoever looks at its stack in
// between, livepatch, /proc or the ground truth, sees the chain.
//
// Invariant: the task never executes with another stack than its own.

import { fromHalves, lo32, STACK_HI } from '../guest/addr.ts';
import type { EventSink } from '../kernel/events.ts';
import type { TaskStruct } from '../kernel/task_struct.ts';
import type { Machine } from '../machine/machine.ts';
import { PoseError } from './error.ts';
import { FrameMaker } from './made_frames.ts';
import { type Way, WayFinder } from './way.ts';

export interface PoseOptions {
  /** How long it stands there. */
  readonly ms: number;
  /** uninterruptible: no signal reaches it. */
  readonly state?: 'interruptible' | 'uninterruptible';
  readonly comm?: string;
}

/** What every chain ends in. */
const SLEEP = 'schedule';
/** Frames from the innermost: of __switch_to_asm, __schedule and schedule; the next one is of who called that. */
const OF_SCHEDULER = 3;
/** clock_nanosleep() in words of the trace: the first function of its system call. */
const SYSTEM_CALL = /^do_syscall/;
/** Until a task that was started has gone to sleep. */
const SOON_NS = 1e9;

/** The functions of a chain, found and gone through: it can be posed any number of times. */
export class Pose {
  readonly chain: readonly string[];
  readonly #machine: Machine;
  readonly #ways: readonly Way[];
  readonly #maker: FrameMaker;

  /**
   * @param chain outermost first, `schedule` last; `MODULE:NAME` for a module's, `NAME,2` for the second of that name
   * @throws PoseError where a function is not there, or no way leads from one to the next
   */
  constructor(machine: Machine, chain: readonly string[]) {
    const { core, traces } = machine.inspect;
    if (!core.arch.code || !traces.shadow || machine.options.unwinder !== 'orc')
      throw new PoseError('a posed task needs ORC tables and the ground truth of stacks');
    if (chain.length < 2 || chain.at(-1) !== SLEEP)
      throw new PoseError(`a chain has two functions or more, and ends in ${SLEEP}`);
    this.#machine = machine;
    this.chain = chain;
    const entries = chain.map((name) => lo32(this.#entryOf(name)));
    const finder = new WayFinder(core, core.arch.code);
    this.#ways = entries
      .slice(0, -1)
      .map((from, i) => finder.find(from, entries[i + 1], { from: chain[i], to: chain[i + 1] }));
    this.#maker = new FrameMaker(core.mem);
  }

  #entryOf(name: string): bigint {
    const { symbols } = this.#machine.inspect.core;
    const [, module, func = name, sympos] = /^(?:(\w+):)?([^,]+)(?:,(\d+))?$/.exec(name) ?? [];
    const found = symbols.matches(func, module).filter(({ type }) => /^[tw]$/i.test(type));
    const one =
      sympos === undefined ? (found.length === 1 ? found[0] : undefined) : found[Number(sympos) - 1];
    if (one) return one.addr;
    if (found.length === 0 || sympos !== undefined) throw new PoseError(`${name}: no such function`);
    throw new PoseError(`${name}: ${found.length} functions have that name: ${name},1 is the first`);
  }

  /** Starts a task that will stand there as soon as it has gone to sleep. @throws MachineError */
  start({ ms, state = 'interruptible', comm = 'posed' }: PoseOptions): PosedTask {
    const task = this.#machine.spawn('sleep', [String(Math.ceil(ms)), '1'], { comm });
    return new PosedTask(this.#machine, task, this.#ways, this.chain, this.#maker, state);
  }

  /** The same, and lets the machine run until it stands. @throws PoseError, MachineError */
  stand(options: PoseOptions): PosedTask {
    const posed = this.start(options);
    this.#machine.runUntil(() => posed.place() || posed.failure !== undefined, SOON_NS);
    if (posed.failure) throw posed.failure;
    if (!posed.isStanding) throw new PoseError(`${posed.task}: it has not gone to sleep`);
    return posed;
  }
}

/** What is put back. */
interface Kept {
  readonly sp: bigint;
  readonly from: bigint;
  readonly bytes: Uint8Array;
  readonly frames: readonly { readonly location: number; readonly address: number }[];
}

export class PosedTask {
  readonly task: TaskStruct;
  readonly chain: readonly string[];
  readonly #machine: Machine;
  readonly #ways: readonly Way[];
  readonly #maker: FrameMaker;
  readonly #state: 'interruptible' | 'uninterruptible';
  readonly #stop: () => void;
  /** Of the chain, outermost first, while it stands there. */
  frames: readonly { readonly at: number; readonly address: number }[] = [];
  /** Why it does not stand there. */
  failure: PoseError | undefined;
  #kept: Kept | undefined;
  #hasLeft = false;

  constructor(
    machine: Machine,
    task: TaskStruct,
    ways: readonly Way[],
    chain: readonly string[],
    maker: FrameMaker,
    state: 'interruptible' | 'uninterruptible',
  ) {
    this.#machine = machine;
    this.task = task;
    this.chain = chain;
    this.#ways = ways;
    this.#maker = maker;
    this.#state = state;
    const own = `${task}`;
    const sink: EventSink = (event) => {
      if (event.type !== 'sched') return;
      if (event.next === own) this.#leave();
      else this.place();
    };
    this.#stop = machine.events.subscribe(sink, ['sched']);
  }

  get isStanding(): boolean {
    return this.#kept !== undefined;
  }

  /** Exchanges the frames, when it has gone to sleep. @returns whether it stands there */
  place(): boolean {
    if (this.#kept || this.#hasLeft || this.failure) return this.isStanding;
    const { core, traces } = this.#machine.inspect;
    const { task } = this;
    if (task.onCpu || (task.state & core.kernel.constants.TASK_INTERRUPTIBLE) === 0) return false;
    const { shadow } = traces;
    const frames = shadow?.frames(task.stackSlot, task.spLo) ?? [];
    const name = (low: number): string => core.symbols.nameOf(fromHalves(0xffffffff, low - 1)) ?? '';
    const call = frames.findIndex(({ address }) => SYSTEM_CALL.test(name(address)));
    if (!shadow || call < OF_SCHEDULER || name(frames[OF_SCHEDULER - 1].address) === '') return false;
    try {
      this.#exchange(frames, call);
    } catch (error) {
      // It sleeps on as what it is; the guest in whose event this happens has no part in it.
      if (!(error instanceof PoseError)) throw error;
      this.failure = error;
      this.#say(`is not posed: ${error.message}`);
      this.#stop();
    }
    return this.isStanding;
  }

  #exchange(frames: readonly { readonly location: number; readonly address: number }[], call: number): void {
    const { core, traces } = this.#machine.inspect;
    const { mem } = core;
    const { task } = this;
    const base = lo32(task.stackBase);
    const entry = frames[call].location - base;
    const made = this.#maker.make(this.#ways, this.chain, entry, task.stackBase);
    this.frames = made.frames;
    const at = (offset: number): bigint => fromHalves(STACK_HI, base + offset);
    // The scheduler's frames, from the saved stack pointer up to the return address of who called schedule().
    const [from, to] = [task.spLo - base, frames[OF_SCHEDULER - 1].location - base];
    const lowest = Math.min(from, made.from - (to - from));
    this.#kept = {
      sp: task.sp,
      from: at(lowest),
      bytes: mem.readBytes(at(lowest), entry - lowest),
      frames: frames.slice(0, call),
    };
    const inner = mem.readBytes(at(from), to - from);
    const delta = made.from - to;
    moveInner(inner, task.stackBase, {
      from,
      to,
      delta,
      fpAt: frames[1].location - base - 8 - from,
      fp: made.fp,
    });
    mem.writeBytes(
      at(made.from),
      new Uint8Array(made.words.buffer, made.words.byteOffset, made.words.byteLength),
    );
    mem.writeBytes(at(from + delta), inner);
    task.sp = at(from + delta);
    const { shadow } = traces;
    shadow?.switchStack(frames[call].location);
    for (const one of made.frames) shadow?.call(base + one.at, one.address);
    for (const { location, address } of frames.slice(0, OF_SCHEDULER - 1).reverse())
      shadow?.call(location + delta, address);
    this.#say(`is posed: it stands in ${this.chain.join(' > ')}`);
    if (this.#state === 'uninterruptible') task.state = core.kernel.constants.TASK_UNINTERRUPTIBLE;
  }

  #say(what: string): void {
    this.#machine.events.emit({ type: 'note', text: `${this.task} ${what}` });
  }

  /** Its time is over, or it was woken: the stack is as it was when it went to sleep. */
  #leave(): void {
    const kept = this.#kept;
    if (!kept) return;
    const { core, traces } = this.#machine.inspect;
    core.mem.writeBytes(kept.from, kept.bytes);
    this.task.sp = kept.sp;
    traces.shadow?.switchStack(lo32(kept.from) + kept.bytes.length);
    for (const { location, address } of [...kept.frames].reverse()) traces.shadow?.call(location, address);
    this.#kept = undefined;
    this.#hasLeft = true;
    this.#stop();
  }
}

/** Words that point into what is moved move with it; the frame pointer that schedule() was called with is that of its new caller. */
function moveInner(
  bytes: Uint8Array,
  stackBase: bigint,
  { from, to, delta, fpAt, fp }: { from: number; to: number; delta: number; fpAt: number; fp: bigint },
): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at + 8 <= bytes.length; at += 8) {
    const offset = view.getBigUint64(at, true) - stackBase;
    if (offset >= BigInt(from) && offset < BigInt(to))
      view.setBigUint64(at, stackBase + offset + BigInt(delta), true);
  }
  view.setBigUint64(fpAt, fp, true);
}
