// How fast the stack check of a transition can go: reliable traces of sleeping tasks, as a ratio to reading the
// same return addresses from places known beforehand, in the same run; and how the time grows with the tasks.
//
// npx esbuild bench/unwind.ts --bundle --platform=node --format=esm | node --input-type=module -

import { PT_REGS } from '../src/arch/x86_64/pt_regs.ts';
import { UNWINDERS, type UnwinderKind } from '../src/arch/x86_64/unwind/unwinders.ts';
import { OrcLookup } from '../src/unwind/orc_lookup.ts';
import { THREAD_SIZE } from '../src/unwind/stack_slots.ts';
import { MAX_STACK_ENTRIES, StackTrace } from '../src/unwind/stacktrace.ts';
import { type FrameSpec, ORC, StackBuilder, TestArena, TestTask } from '../test/unwind/stack_builder.ts';
import { TestText } from '../test/unwind/text.ts';

const AIM_TASKS_PER_SECOND = 300_000;
const ROUND_MS = 400;

interface Sleepers {
  readonly tasks: TestTask[];
  readonly trace: StackTrace;
  readonly arena: TestArena;
  /** Word indices of all return addresses, a task's after another's; `starts` has each task's first. */
  readonly words: Uint32Array;
  readonly starts: Uint32Array;
}

/** Tasks asleep in one of 16 system calls, eight to twelve frames deep. */
function sleepers(count: number, kind: UnwinderKind): Sleepers {
  const arena = new TestArena(count);
  const lookup = new OrcLookup();
  const text = new TestText();
  const fork = text.frame(ORC.end());
  const syscall = text.frame(ORC.regs());
  const paths = Array.from({ length: 16 }, (_, i) => path(text, i, kind));
  const tasks: TestTask[] = [];
  const words: number[] = [];
  const starts = new Uint32Array(count + 1);
  for (let slot = 0; slot < count; slot++) {
    const task = new TestTask(slot);
    const stack = new StackBuilder(arena, slot).taskRegs(true).outermost(syscall);
    for (const frame of paths[slot % paths.length]) stack.call(frame);
    stack.switchOut(task);
    for (const offset of stack.locations) words.push((slot * THREAD_SIZE + offset) / 4);
    starts[slot + 1] = words.length;
    tasks.push(task);
  }
  text.addTo(lookup);
  const trace = new StackTrace({
    arena,
    lookup,
    unwinder: UNWINDERS[kind],
    ptRegs: PT_REGS,
    retFromFork: fork.ip,
  });
  return { tasks, trace, arena, words: Uint32Array.from(words), starts };
}

function path(text: TestText, seed: number, kind: UnwinderKind): FrameSpec[] {
  const depth = 7 + (seed % 5);
  return Array.from({ length: depth }, (_, i) => {
    const framePointer = kind === 'frame pointer' || (seed + i) % 6 === 0;
    return text.frame(framePointer ? ORC.bp() : ORC.sp(16 + 8 * ((seed + i) % 9), -16), i % 4);
  });
}

function walkAll({ tasks, trace }: Sleepers, entries: Uint32Array): number {
  let found = 0;
  for (const task of tasks) {
    const count = trace.stackTraceSaveTskReliable(task, entries);
    if (count < 0) throw new Error(JSON.stringify(trace.explainTskReliable(task), (_, v) => String(v)));
    found += count;
  }
  return found;
}

function readAll({ tasks, arena, words, starts }: Sleepers, entries: Uint32Array): number {
  const stack = arena.words;
  let found = 0;
  for (let task = 0; task < tasks.length; task++) {
    let count = 0;
    for (let i = starts[task]; i < starts[task + 1]; i++) entries[count++] = stack[words[i]];
    found += count;
  }
  return found;
}

/** The best time of one round in seconds: other load on the machine only ever adds. */
function best(round: () => number): number {
  let shortest = Number.POSITIVE_INFINITY;
  const end = performance.now() + ROUND_MS;
  for (let rounds = 0; rounds < 5 || performance.now() < end; rounds++) {
    const start = performance.now();
    round();
    shortest = Math.min(shortest, performance.now() - start);
  }
  return shortest / 1000;
}

const entries = new Uint32Array(MAX_STACK_ENTRIES);
const whole = (n: number): string => Math.round(n).toLocaleString('en-US');

for (const kind of ['orc', 'frame pointer'] as const) {
  const set = sleepers(10_000, kind);
  const frames = walkAll(set, entries);
  const walk = best(() => walkAll(set, entries));
  const read = best(() => readAll(set, entries));
  const rate = set.tasks.length / walk;
  console.log(
    `${kind}: ${whole(rate)} tasks/s, ${(frames / set.tasks.length).toFixed(1)} frames a task, ` +
      `${((walk / frames) * 1e9).toFixed(1)} ns a frame; ${(walk / read).toFixed(1)} times the bare read ` +
      `(aim ${whole(AIM_TASKS_PER_SECOND)} tasks/s: ${rate >= AIM_TASKS_PER_SECOND ? 'met' : 'missed'})`,
  );
}

// The stacks of many tasks fit no cache, for the bare read either: its growth is the machine's, not ours.
let first = { walk: 0, read: 0 };
for (const count of [100, 1_000, 10_000, 50_000]) {
  const set = sleepers(count, 'orc');
  const walk = best(() => walkAll(set, entries)) / count;
  const read = best(() => readAll(set, entries)) / count;
  if (first.walk === 0) first = { walk, read };
  console.log(
    `${whole(count)} tasks: ${whole(walk * 1e9)} ns a task, ${(walk / first.walk).toFixed(2)} of that at 100; ` +
      `bare read ${whole(read * 1e9)} ns, ${(read / first.read).toFixed(2)} of that at 100`,
  );
}
