// Does what the scenario expects hold, and if not, what was seen instead? One function a kind of check.

import { holeText } from '../machine/truth/hole_text.ts';
import { exitText } from './exit_text.ts';
import type { Hole, TransitionFacts } from './recorder.ts';
import type { Check, CheckBase, CheckBody, LocatedPattern } from './scenario.ts';
import { codeAt, insnAt, nameTarget, siteAddr, trampolineHandler } from './text.ts';
import { hexBytes } from './trace.ts';
import { noTransition } from './unfinished.ts';
import { formatDuration } from './units.ts';
import { matches, type Pattern, type SiteRef } from './values.ts';
import type { KnownTask, World } from './world.ts';

/** A failed check: what was expected, what was seen, and the place of the part that failed. */
export interface Failure {
  readonly expected: string;
  readonly seen: string;
  readonly at?: CheckBase;
}

type Of<K extends CheckBody['kind']> = Extract<Check, { kind: K }>;
type Evaluate<K extends CheckBody['kind']> = (
  check: Of<K>,
  world: World,
) => Promise<Failure | undefined> | Failure | undefined;

const KLP_PATCHED = 1;
/** Lines shown of what was seen instead. */
const SHOWN = 8;

/** @returns undefined when the check holds. */
export async function evaluate(check: Check, world: World): Promise<Failure | undefined> {
  const one = EVALUATE[check.kind] as (check: Check, world: World) => ReturnType<Evaluate<'dmesg'>>;
  return one(check, world);
}

const EVALUATE: { [K in CheckBody['kind']]: Evaluate<K> } = {
  dmesg: ({ lines }, world) => dmesgInOrder(lines, world.log()),
  absent: ({ line }, world) => {
    const found = world.log().find((text) => matches(line, message(text)));
    return found === undefined
      ? undefined
      : { expected: `no kernel line ${quoted(line)}`, seen: found.trim() };
  },
  blocked: isBlocked,
  switched: ({ task, way, by }, world) => {
    const wanted = `${task} switched${way ? ` by ${way}` : ''}${by === undefined ? '' : ` by ${formatDuration(by)}`}`;
    const all = world.facts.transitions.at(-1)?.switches ?? [];
    const found = all.filter(
      (one) => one.comm === task || String(one.pid) === task || isNamed(world, task, one.pid),
    );
    const good = found.some(
      (one) => (way === undefined || one.way === way) && (by === undefined || one.t <= by),
    );
    if (good) return undefined;
    const how = found.map((one) => `${one.comm}:${one.pid} by ${one.way} at ${formatDuration(one.t)}`);
    return { expected: wanted, seen: how.length > 0 ? how.join(', ') : notSwitched(world, task) };
  },
  pending: ({ task }, world) => {
    const tasks = world.tasks(task);
    if (tasks.some((one) => one.pending)) return undefined;
    const seen = tasks.length > 0 ? `${tasks.join(', ')}: TIF_PATCH_PENDING is not set` : noTask(world, task);
    return { expected: `${task} is not switched yet`, seen };
  },
  done: isDone,
  transition: ({ patch }, { facts }) => {
    const current = facts.current?.patch ?? 'none';
    return current === patch ? undefined : { expected: `transition of ${patch}`, seen: current };
  },
  site: siteHolds,
  stack: ({ task, has, lacks }, world) => {
    const tasks = world.tasks(task).filter((one) => one.alive);
    const stacks = tasks.map((one) => one.stack());
    const good = stacks.some(
      (stack) => inOrder(has, stack) && !lacks.some((p) => stack.some((line) => matches(p, line))),
    );
    if (good) return undefined;
    const wanted = [...has.map(quoted), ...lacks.map((p) => `no ${quoted(p)}`)].join(', ');
    const seen =
      stacks.length > 0 ? stacks.map((stack) => stack.join('\n')).join('\n--\n') : noTask(world, task);
    return { expected: `stack of ${task} with ${wanted}`, seen };
  },
  file: ({ filePath, text }, { machine }) => {
    let content: string;
    try {
      content = machine.readText(filePath);
    } catch (error) {
      return { expected: `${filePath} can be read`, seen: (error as Error).message };
    }
    return textHolds(text, content, filePath);
  },
  output: ({ task, text }, world) => {
    const tasks = world.tasks(task);
    if (tasks.length === 0) return { expected: `output of ${task}`, seen: noTask(world, task) };
    const failures = tasks.map((one) => textHolds(text, one.stdout, `${one}`));
    return failures.includes(undefined) ? undefined : failures[0];
  },
  exit: ({ task, status }, world) => {
    const tasks = world.tasks(task);
    const seen = tasks.map((one) => `${one}: ${exitText(one.exit)}`);
    const good = tasks.length > 0 && tasks.every((one) => exitText(one.exit) === exitText(status));
    if (good) return undefined;
    return {
      expected: `${task} ends with ${exitText(status)}`,
      seen: seen.join(', ') || noTask(world, task),
    };
  },
  alive: ({ task }, world) => {
    if (world.tasks(task).some((one) => one.alive)) return undefined;
    return { expected: `${task} is alive`, seen: `gone; there are ${world.taskList()}` };
  },
  gone: ({ task }, world) => {
    const alive = world.tasks(task).filter((one) => one.alive);
    return alive.length === 0
      ? undefined
      : { expected: `${task} is gone`, seen: `${alive.join(', ')} is there` };
  },
  hole: (check, world) => {
    const { holes } = world.facts;
    if (holes.some((one) => holeFits(check, one, world))) return undefined;
    const { task, func, patch, part } = check;
    const where = part ?? func ?? 'a replaced function';
    return {
      expected: `${task ?? 'a task'} in ${where}, not seen by ${patch ?? 'a patch'}`,
      seen:
        holes.map((one) => `${one.comm}:${one.pid} ${holeText(one)} under '${one.patch}'`).join('\n') ||
        'nobody',
    };
  },
  mixed: ({ count }, world) => {
    const counts = world
      .outputs()
      .flatMap((text) => [...text.matchAll(/^mixed (\d+)$/gm)].map((m) => Number(m[1])));
    if (counts.length === 0)
      return { expected: `mixed ${count}`, seen: 'nobody read a file with this counter' };
    const wrong = counts.find((one) => one !== count);
    return wrong === undefined ? undefined : { expected: `mixed ${count}`, seen: `mixed ${wrong}` };
  },
  oops: ({ text }, { facts }) => {
    if (facts.oopses.some((oops) => matches(text, oops.text))) return undefined;
    const seen = facts.oopses.map((oops) => oops.text.split('\n')[0]).join('\n') || 'none';
    return { expected: `an oops with ${quoted(text)}`, seen };
  },
};

/** Is this what the check speaks of? */
export function holeFits({ task, func, patch, part }: Of<'hole'>, hole: Hole, world: World): boolean {
  const fits = (wanted: string | undefined, seen: string | undefined): boolean =>
    wanted === undefined || wanted === seen;
  const isTask =
    task === undefined || task === hole.comm || task === String(hole.pid) || isNamed(world, task, hole.pid);
  return isTask && fits(func, hole.func) && fits(patch, hole.patch) && fits(part, hole.part);
}

function dmesgInOrder(lines: readonly LocatedPattern[], dmesg: readonly string[]): Failure | undefined {
  let from = 0;
  for (const [i, one] of lines.entries()) {
    const at = dmesg.findIndex((text, n) => n >= from && matches(one.pattern, message(text)));
    if (at >= 0) {
      from = at + 1;
      continue;
    }
    const after = i > 0 ? ` after ${quoted(lines[i - 1].pattern)}` : '';
    return {
      expected: `kernel line ${quoted(one.pattern)}${after}`,
      seen: dmesgInstead(one.pattern, dmesg, from),
      at: one,
    };
  }
  return undefined;
}

/** A line of dmesg without its time. */
function message(line: string): string {
  return line.replace(/^\[ *\d+\.\d+\] /, '');
}

/** Where else the line is, or what came where it was expected. */
function dmesgInstead(pattern: Pattern, dmesg: readonly string[], from: number): string {
  const earlier = dmesg.findIndex((text) => matches(pattern, message(text)));
  if (earlier >= 0) return `it came earlier: ${dmesg[earlier].trim()}`;
  const rest = dmesg.slice(from);
  if (rest.length === 0) return dmesg.length === 0 ? 'the kernel log is empty' : 'no more lines';
  return tail(rest, SHOWN);
}

function isBlocked({ task, on, why, stack }: Of<'blocked'>, world: World): Failure | undefined {
  const expected = `${task} blocked${on ? ` on ${on}` : ''}${why ? `: ${quoted(why)}` : ''}`;
  const tasks = world.tasks(task);
  if (tasks.length === 0) return { expected, seen: noTask(world, task) };
  const { current } = world.facts;
  if (!current) return { expected, seen: 'no transition is under way' };
  const failures = tasks.map((one) => blockedSeen(one, { on, why, stack }, current));
  return failures.includes(undefined) ? undefined : { expected, seen: failures.join('\n') };
}

interface BlockedWanted {
  readonly on: string | undefined;
  readonly why: Pattern | undefined;
  readonly stack: readonly Pattern[];
}

/** undefined when the task is blocked as wanted. */
function blockedSeen(task: KnownTask, wanted: BlockedWanted, current: TransitionFacts): string | undefined {
  const switched = current.switches.find((one) => one.pid === task.pid);
  if (switched) return `${task} switched by ${switched.way} at ${formatDuration(switched.t)}`;
  const last = latest(current.blocked.filter((one) => one.pid === task.pid));
  if (!last) return `${task} was not looked at yet`;
  const fits =
    (wanted.on === undefined || last.func === wanted.on) && (!wanted.why || matches(wanted.why, last.why));
  const lines = task.stack();
  if (fits && inOrder(wanted.stack, lines)) return undefined;
  return [`${task} ${last.why}`, ...lines].join('\n');
}

function latest<T extends { lastT: number }>(list: readonly T[]): T | undefined {
  return list.reduce<T | undefined>((a, b) => (a && a.lastT > b.lastT ? a : b), undefined);
}

function isDone({ patch, to, by, within }: Of<'done'>, world: World): Failure | undefined {
  const { facts } = world;
  const word = to === 'patched' ? 'patching' : 'unpatching';
  const limit =
    by !== undefined
      ? ` by ${formatDuration(by)}`
      : within !== undefined
        ? ` within ${formatDuration(within)}`
        : '';
  const expected = `${word} of ${patch} complete${limit}`;
  const target = to === 'patched' ? KLP_PATCHED : 0;
  const last = facts.transitions.filter((one) => one.patch === patch && one.target === target).at(-1);
  if (!last) {
    const others = facts.transitions.map(transitionText).join(', ') || 'none';
    const seen = [`no such transition; there were: ${others}`, noTransition(patch, world)];
    return { expected, seen: seen.filter(Boolean).join('\n') };
  }
  const took = (last.endedAt ?? 0) - last.startedAt;
  const late = (by !== undefined && (last.endedAt ?? 0) > by) || (within !== undefined && took > within);
  if (last.outcome === 'complete' && !late) return undefined;
  return { expected, seen: transitionText(last) };
}

function transitionText({ patch, target, outcome, startedAt, endedAt }: TransitionFacts): string {
  const word = target === KLP_PATCHED ? 'patching' : 'unpatching';
  const end =
    endedAt === undefined
      ? ''
      : ` at ${formatDuration(endedAt)}, after ${formatDuration(endedAt - startedAt)}`;
  return `${word} of ${patch} ${outcome}${end}`;
}

async function siteHolds(
  { at, bytes, insn, calls }: Of<'site'>,
  { machine }: World,
): Promise<Failure | undefined> {
  const addr = siteAddr(machine, at);
  if (addr === undefined) return { expected: `bytes at ${at.text}`, seen: `no symbol ${at.symbol}` };
  if (bytes) {
    const seen = codeAt(machine, addr, bytes.bytes.length);
    const same =
      seen.length === bytes.bytes.length && bytes.bytes.every((byte, i) => byte === null || byte === seen[i]);
    if (!same) return { expected: `${bytes.text} at ${at.text}`, seen: hexBytes(seen) || 'not mapped' };
  }
  if (insn.length > 0) {
    const found = await insnAt(machine, addr);
    if (!insn.every((pattern) => matches(pattern, found?.text ?? '')))
      return { expected: `${insn.map(quoted).join(', ')} at ${at.text}`, seen: found?.text ?? 'not mapped' };
  }
  return calls === undefined ? undefined : callsHold(at, addr, calls, machine);
}

function callsHold(at: SiteRef, addr: bigint, calls: string, machine: World['machine']): Failure | undefined {
  const { fentry } = machine.inspect.core.arch;
  const code = codeAt(machine, addr, fentry.size);
  const target = fentry.target(addr, code);
  const expected = `a call of ${calls} at ${at.text}`;
  if (target === undefined) {
    const pad = fentry.landingPad(code);
    const behind = pad ? `: ${pad.what}, the fentry site is behind it, at +0x${pad.size.toString(16)}` : '';
    return { expected, seen: `${hexBytes(code) || 'not mapped'}${behind}` };
  }
  const symbol = machine.inspect.core.symbols.lookup(target);
  if (symbol?.name === calls || trampolineHandler(machine, target) === calls) return undefined;
  return { expected, seen: `call 0x${target.toString(16)} <${nameTarget(machine, target) ?? '?'}>` };
}

/** Are the patterns found in this order? */
function inOrder(patterns: readonly Pattern[], lines: readonly string[]): boolean {
  let from = 0;
  return patterns.every((pattern) => {
    const at = lines.findIndex((line, n) => n >= from && matches(pattern, line));
    from = at + 1;
    return at >= 0;
  });
}

/** Every pattern in its order; one that has several lines is looked for in the whole text. */
export function textHolds(patterns: readonly Pattern[], text: string, what: string): Failure | undefined {
  const lines = text.split('\n');
  const whole = patterns.filter((pattern) => pattern.text.trimEnd().includes('\n'));
  const single = patterns.filter((pattern) => !whole.includes(pattern));
  if (inOrder(single, lines) && whole.every((pattern) => matches(pattern, text))) return undefined;
  return {
    expected: `${patterns.map(quoted).join(', ')} in ${what}`,
    seen: tail(lines, 2 * SHOWN).trim() || 'nothing',
  };
}

const quoted = ({ text, regexp }: Pattern): string => (regexp ? text : `'${text}'`);

function tail(lines: readonly string[], n: number): string {
  const shown = lines.slice(-n);
  return lines.length > n ? `... ${lines.length - n} lines more\n${shown.join('\n')}` : shown.join('\n');
}

function isNamed(world: World, name: string, pid: number): boolean {
  return world.tasks(name).some((task) => task.pid === pid);
}

function noTask(world: World, name: string): string {
  return `no task ${name}; there are ${world.taskList()}`;
}

function notSwitched(world: World, name: string): string {
  const tasks = world.tasks(name);
  return tasks.length > 0 ? `${tasks.join(', ')} did not switch` : noTask(world, name);
}
