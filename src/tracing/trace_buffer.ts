// What tracers and probes record, and the text of tracefs' trace. Mirrors kernel/trace/trace.c and trace_output.c:
// tracing_gen_ctx, trace_print_lat_fmt, print_trace_header.
//
// A ring a CPU: the latest MOST entries of each are kept, until they are taken. Names of functions are looked up as it is read.

import type { Addr } from '../guest/addr.ts';
import type { KernelCore } from '../kernel/core.ts';
import { preemptCount } from '../kernel/preempt_count.ts';

/** Entries of a CPU: what 1408 KiB hold of the function tracer's, 28 bytes each. */
const MOST = 51_000;
const NS_PER_US = 1000;

/** Where and when something was recorded. */
interface TraceContext {
  readonly cpu: number;
  readonly t: number;
  readonly pid: number;
  readonly comm: string;
  /** As the kernel prints them: irqs, need-resched, interrupts, preemption, migration. */
  readonly flags: string;
}

interface TraceEntry extends TraceContext {
  text(): string;
}

/** What a CPU has recorded. */
class Ring {
  #entries: TraceEntry[] = [];
  /** The first that is there. */
  #head = 0;
  /** Written over since it was emptied, and since somebody took an entry. */
  overrun = 0;
  lost = 0;

  get length(): number {
    return this.#entries.length - this.#head;
  }

  get first(): TraceEntry | undefined {
    return this.#entries[this.#head];
  }

  all(): TraceEntry[] {
    return this.#entries.slice(this.#head);
  }

  push(entry: TraceEntry): void {
    if (this.length >= MOST) {
      this.#head++;
      this.overrun++;
      this.lost++;
    }
    this.#cut();
    this.#entries.push(entry);
  }

  take(): void {
    this.#head++;
    this.lost = 0;
    this.#cut();
  }

  /** Seldom: each cut copies what is kept. */
  #cut(): void {
    if (this.#head < MOST && this.#head < this.#entries.length) return;
    this.#entries.splice(0, this.#head);
    this.#head = 0;
  }

  reset(): void {
    this.#entries = [];
    this.#head = 0;
    this.overrun = 0;
    this.lost = 0;
  }
}

export class TraceBuffer {
  /** tracing_on */
  on = true;
  /** rb_wakeups(): behind each record. */
  onRecord: () => void = () => {};
  readonly #core: KernelCore;
  readonly #rings: readonly Ring[];

  constructor(core: KernelCore) {
    this.#core = core;
    this.#rings = Array.from({ length: core.cpus }, () => new Ring());
  }

  /**
   * @param irqsOff in the handler. @param text of the entry, made as it is read
   * @param ownDepth how often who records disabled preemption for himself, which is not shown
   */
  record(cpu: number, irqsOff: boolean, text: () => string, ownDepth = 1): void {
    if (!this.on) return;
    this.#rings[cpu].push({ ...this.#context(cpu, irqsOff, ownDepth), text });
    this.onRecord();
  }

  reset(): void {
    for (const ring of this.#rings) ring.reset();
  }

  /** ring_buffer_empty() */
  get isEmpty(): boolean {
    return this.#rings.every((ring) => ring.length === 0);
  }

  /** The line of the earliest entry, with how many were written over before it; undefined where there is none. */
  firstLine(): string | undefined {
    const ring = this.#earliest();
    if (ring?.first === undefined) return undefined;
    const lost = ring.lost === 0 ? '' : `CPU:${ring.first.cpu} [LOST ${ring.lost} EVENTS]\n`;
    return lost + line(ring.first);
  }

  /** trace_consume(): of the entry that firstLine() is of. */
  takeFirst(): void {
    this.#earliest()?.take();
  }

  /** __find_next_entry() */
  #earliest(): Ring | undefined {
    let earliest: Ring | undefined;
    for (const ring of this.#rings)
      if (ring.first && (!earliest?.first || ring.first.t < earliest.first.t)) earliest = ring;
    return earliest;
  }

  /** tracing_gen_ctx_dec() */
  #context(cpu: number, irqsOff: boolean, ownDepth: number): TraceContext {
    const { core, task } = { core: this.#core, task: this.#core.current(cpu) };
    const { NMI_MASK, HARDIRQ_MASK, SOFTIRQ_OFFSET, PREEMPT_MASK } = core.kernel.constants;
    const count = preemptCount(core, cpu);
    const flags =
      held(irqsOff, softirqsOff(count, SOFTIRQ_OFFSET)) +
      (task.testTif('TIF_NEED_RESCHED') ? 'N' : '.') +
      interrupts((count & NMI_MASK) !== 0, (count & HARDIRQ_MASK) !== 0, (count & SOFTIRQ_OFFSET) !== 0) +
      digit(Math.max((count & PREEMPT_MASK) - ownDepth, 0)) +
      '.';
    return { cpu, t: core.clock.now(), pid: task.pid, comm: task.comm, flags };
  }

  /** The file trace. */
  text(tracer: string): string {
    const kept = this.#rings.flatMap((ring) => ring.all()).sort((a, b) => a.t - b.t);
    const written = this.#rings.reduce((sum, ring) => sum + ring.overrun, kept.length);
    let text = `# tracer: ${tracer}\n#\n`;
    text += `# entries-in-buffer/entries-written: ${kept.length}/${written}   #P:${this.#core.cpus}\n`;
    text += HEADER;
    for (const entry of kept) text += line(entry);
    return text;
  }

  /** seq_print_sym(), without the offset: of an address in code. */
  symbol(addr: Addr): string {
    return this.#core.symbols.describe(addr)?.name ?? `0x${addr.toString(16)}`;
  }
}

const HEADER = `#
#                                _-----=> irqs-off/BH-disabled
#                               / _----=> need-resched
#                              | / _---=> hardirq/softirq
#                              || / _--=> preempt-depth
#                              ||| / _-=> migrate-disable
#                              |||| /     delay
#           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION
#              | |         |   |||||     |         |
`;

function line({ cpu, t, pid, comm, flags, text }: TraceEntry): string {
  const us = Math.round(t / NS_PER_US);
  const time = `${String(Math.floor(us / 1e6)).padStart(5)}.${String(us % 1e6).padStart(6, '0')}`;
  const task = `${(pid === 0 ? '<idle>' : comm).padStart(16)}-${String(pid).padEnd(7)}`;
  return `${task} [${String(cpu).padStart(3, '0')}] ${flags} ${time}: ${text()}\n`;
}

/** softirq_count() without what serving them counts. */
const softirqsOff = (count: number, offset: number): boolean => (count & 0xff00 & ~offset) !== 0;

function held(irqsOff: boolean, bhOff: boolean): string {
  return irqsOff ? (bhOff ? 'D' : 'd') : bhOff ? 'b' : '.';
}

function interrupts(nmi: boolean, hard: boolean, soft: boolean): string {
  if (nmi) return hard ? 'Z' : 'z';
  if (hard) return soft ? 'H' : 'h';
  return soft ? 's' : '.';
}

/** Of four bits. */
const digit = (value: number): string => (value === 0 ? '.' : Math.min(value, 15).toString(16));
