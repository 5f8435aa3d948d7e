// The last moment before another at which something was so: the history is executed once more, and looked at; then it is
// gone to that moment, and told what is there.

import type { DisassembledInsn } from '../arch/disassembly.ts';
import type { KernelEvent } from '../kernel/events.ts';
import type { Machine } from '../machine/machine.ts';
import { listCode, nameTarget } from '../scenario/text.ts';
import { hexBytes } from '../scenario/trace.ts';
import { parseDuration } from '../scenario/units.ts';
import { type Debuggee, positionOf } from './debuggee.ts';
import { DebugError } from './error.ts';
import { runToLine, runToTime } from './moments.ts';
import { Lookout } from './points.ts';
import { type Sought, soughtOf } from './sought.ts';

/** Events that are told of before a moment. */
const TOLD = 3;
/** Those of the instruction that did it are none of them. */
const MOST_RECENT = 64;
/** Bytes of code that are listed. */
const LISTED = 24;

/** A history that can be executed again. */
export interface Past {
  /** A machine of its own that has executed so many instructions, or all there are. */
  at(position: number): Promise<Debuggee>;
}

export interface FoundMoment {
  /** Instructions executed before: the next one of that CPU is the one that did it. */
  readonly position: number;
  /** Virtual ns. */
  readonly t: number;
  readonly cpu: number;
  /** comm:pid */
  readonly task: string;
  /** The function that CPU stands in, as SYMBOL+0x10. */
  readonly at: string;
  /** Bytes that were looked for, before and behind that instruction. */
  readonly before?: string;
  readonly after?: string;
  /** Innermost first, as far as it is reliable. */
  readonly stack: readonly string[];
  readonly code: readonly DisassembledInsn[];
  /** The last events before it, oldest first. */
  readonly events: readonly KernelEvent[];
}

export interface BackAnswer {
  /** What was looked for. */
  readonly what: string;
  /** From where: instructions executed. */
  readonly from: number;
  /** undefined: it never was so before. */
  readonly found: FoundMoment | undefined;
}

/**
 * Goes back. @param to what is looked for (sought.ts)
 * @param from a time, `instruction N`, or a text of the log; or a machine that stands at that moment
 * @throws DebugError when one of them means nothing, or that moment never comes
 */
export async function goBack(
  past: Past,
  to: string,
  from: string | Pick<Debuggee, 'machine'>,
): Promise<BackAnswer> {
  const run = typeof from === 'string' ? await comeTo(past, from) : from;
  try {
    const sought = soughtOf(to, run.machine);
    const before = positionOf(run);
    const found = await lastBefore(past, sought, before);
    return { what: sought.what, from: before, found: found && (await told(past, sought, found)) };
  } finally {
    if (typeof from === 'string') (run as Debuggee).close();
  }
}

/** Brings a machine to the moment from which is looked back. */
async function comeTo(past: Past, from: string): Promise<Debuggee> {
  const run = await past.at(0);
  const time = parseDuration(from);
  const [, position] = /^instruction (\d{1,15})$/.exec(from) ?? [];
  if (time !== undefined) await runToTime(run, time);
  else if (position !== undefined) await run.go(Number(position));
  else if (!(await runToLine(run, from))) {
    run.close();
    throw new DebugError(`no line of the log has '${from}'`);
  }
  return run;
}

type Place = Pick<FoundMoment, 'position' | 'cpu' | 'task' | 'events'>;

/** @returns undefined: never, before that moment */
async function lastBefore(past: Past, sought: Sought, before: number): Promise<Place | undefined> {
  const run = await past.at(0);
  const { core, executor, smp } = run.machine.inspect;
  const recent: { readonly event: KernelEvent; readonly position: number }[] = [];
  let found: Place | undefined;
  const note = (position: number, cpu: number): void => {
    if (position >= before) return;
    const events = recent.filter((one) => one.position <= position).map(({ event }) => event);
    found = { position, cpu, task: String(core.current(cpu)), events: events.slice(-TOLD) };
  };
  run.machine.events.subscribe((event) => {
    if (sought.kind === 'line' && event.type === 'printk' && event.text.includes(sought.text))
      note(executor.instructions - 1, smp.current?.id ?? 0);
    if (event.type === 'sched' || event.type === 'wakeup') return;
    recent.push({ event, position: executor.instructions });
    if (recent.length > MOST_RECENT) recent.shift();
  });
  const lookout = new Lookout(run.machine);
  lookout.onMet = ({ position, cpu, point, changed }) => {
    if (sought.kind === 'access' && sought.changes && !changed) return false;
    note('breakpoint' in point ? position : position - 1, cpu.id);
    return false;
  };
  lookout.set(sought.kind === 'call' ? [sought.addr] : [], sought.kind === 'access' ? [sought.point] : []);
  try {
    await run.go(before);
    return found;
  } finally {
    run.close();
  }
}

/** What is there. */
async function told(past: Past, sought: Sought, place: Place): Promise<FoundMoment> {
  const run = await past.at(place.position);
  try {
    const { machine } = run;
    const { core, smp } = machine.inspect;
    const { pc } = smp.cpus[place.cpu];
    const bytes = (): string | undefined =>
      sought.kind === 'access' && core.mem.isMapped(sought.point.addr, sought.point.size)
        ? hexBytes(core.mem.readBytes(sought.point.addr, sought.point.size))
        : undefined;
    const before = bytes();
    const there = {
      ...place,
      t: machine.now(),
      at: nameTarget(machine, pc) ?? `0x${pc.toString(16)}`,
      stack: stackOf(machine, place.cpu),
      code: await listCode(machine, pc, LISTED),
    };
    if (before === undefined) return there;
    await run.go(place.position + 1);
    const after = bytes();
    return { ...there, before, ...(after === undefined ? {} : { after }) };
  } finally {
    run.close();
  }
}

/** Where a CPU stands, and its callers, as far as its stack is reliable. */
function stackOf({ inspect }: Machine, cpu: number): string[] {
  const { core, smp, traces } = inspect;
  const trace = traces.stackTrace.explainRegsReliable(core.current(cpu), traces.cpuRegs(smp.cpus[cpu]));
  const lines = trace.entries.map((addr, i) => (i === 0 ? core.sym(addr) : core.symbols.formatReturn(addr)));
  return trace.ok ? lines : [...lines, `and no further: ${trace.reason}`];
}
