// The shape of a scenario file. docs/scenario.md tells what each key means; what no shape can say (files
// that exist, steps in order) is in parse.ts.

import * as z from 'zod/mini';
import { FAULT_POINTS } from '../kernel/fault_inject.ts';
import { inRange, MACHINE_OPTIONS, type NumberRow, wantedText } from '../machine/option_table.ts';
import {
  bytes,
  count,
  duration,
  errno,
  exitCode,
  guestPath,
  pattern,
  scalar,
  site,
  size,
  text,
} from './values.ts';

/** Objects refuse what they do not know; the message lists what they do (parse.ts makes the sentence). */
function object<T extends z.core.$ZodLooseShape>(shape: T) {
  const known = Object.keys(shape).join(', ');
  return z.strictObject(shape, {
    error: (issue) => (issue.code === 'unrecognized_keys' ? known : undefined),
  });
}

const opt = z.optional;
const oneOrMany = <T extends z.core.SomeType>(item: T) => z.union([z.array(item), item]);
const flag = z.boolean();

const UNWINDERS = MACHINE_OPTIONS.unwinder.choices;

/** A number in the range that a machine's option has. */
const ranged = <T extends z.ZodMiniType<number>>(value: T, row: NumberRow) =>
  value.check(
    z.refine((number) => inRange(row, number as number), { error: `must be ${wantedText(row)}` }),
    z.meta({ description: wantedText(row) }),
  );

const whole = (row: NumberRow) => ranged(z.int().check(z.meta({ minimum: row.min, maximum: row.max })), row);

const machine = object({
  cpus: opt(whole(MACHINE_OPTIONS.cpus)),
  seed: opt(whole(MACHINE_OPTIONS.seed)),
  unwinder: opt(z.enum(UNWINDERS)),
  engine: opt(z.enum(MACHINE_OPTIONS.engine.choices)),
  debug: opt(flag),
  heap: opt(ranged(size, MACHINE_OPTIONS.heap)),
  tasks: opt(whole(MACHINE_OPTIONS.maxTasks)),
  shadow: opt(flag),
  protection: opt(flag),
  instruction: opt(ranged(duration, MACHINE_OPTIONS.instructionNs)),
  schedule: opt(text.check(z.maxLength(MACHINE_OPTIONS.schedule.max), z.regex(/^[^\0\n]*$/))),
  cmdline: opt(text.check(z.maxLength(MACHINE_OPTIONS.cmdline.max), z.regex(/^[^\0\n]*$/))),
  model: opt(z.enum(MACHINE_OPTIONS.model.choices)),
  kernel: opt(text.check(z.minLength(1), z.maxLength(MACHINE_OPTIONS.kernel.max), z.regex(/^[^\0\n]*$/))),
});

const taskShape = {
  name: opt(text),
  program: opt(text),
  /** Instead of a program: the functions that it stands in, for how long, and in which state. */
  pose: opt(z.array(text).check(z.minLength(2), z.maxLength(64))),
  for: opt(duration),
  state: opt(z.enum(['interruptible', 'uninterruptible'])),
  args: opt(z.array(scalar)),
  comm: opt(text.check(z.minLength(1), z.maxLength(15))),
  count: opt(count.check(z.maximum(MACHINE_OPTIONS.maxTasks.max))),
};
/** `allocation` is any of kmalloc and module_alloc. */
const faultShape = {
  fail: z.enum(['allocation', ...FAULT_POINTS]),
  nth: opt(count),
  times: opt(count),
  of: opt(text),
  error: opt(errno),
};
const fault = object({ ...faultShape, by: opt(text) });

const task = object({ ...taskShape, start: opt(duration) });

const blocked = object({ task: scalar, on: opt(text), why: opt(pattern), stack: opt(oneOrMany(pattern)) });
export const WAYS = [
  'stack check',
  'cond_resched',
  'freezable sleep',
  'kernel exit',
  'idle loop',
  'fork',
  'force',
] as const;
const switched = object({ task: scalar, way: opt(z.enum(WAYS)), by: opt(duration) });
const done = object({
  patch: text,
  to: opt(z.enum(['patched', 'unpatched'])),
  by: opt(duration),
  within: opt(duration),
});
const hole = object({ task: opt(scalar), func: opt(text), patch: opt(text), part: opt(text) });
const siteCheck = object({
  at: site,
  bytes: opt(bytes),
  insn: opt(oneOrMany(pattern)),
  calls: opt(text),
});

/** One key a kind of check; every value may be a list of them. */
const checkMap = object({
  dmesg: opt(oneOrMany(pattern)),
  absent: opt(oneOrMany(pattern)),
  blocked: opt(oneOrMany(blocked)),
  switched: opt(oneOrMany(switched)),
  pending: opt(oneOrMany(scalar)),
  done: opt(oneOrMany(done)),
  transition: opt(text),
  site: opt(oneOrMany(siteCheck)),
  stack: opt(
    oneOrMany(object({ task: scalar, has: opt(oneOrMany(pattern)), lacks: opt(oneOrMany(pattern)) })),
  ),
  file: opt(oneOrMany(object({ path: guestPath, text: oneOrMany(pattern) }))),
  output: opt(oneOrMany(object({ task: scalar, text: oneOrMany(pattern) }))),
  exit: opt(oneOrMany(object({ task: scalar, status: exitCode }))),
  alive: opt(oneOrMany(scalar)),
  gone: opt(oneOrMany(scalar)),
  hole: opt(oneOrMany(hole)),
  mixed: opt(z.int().check(z.minimum(0))),
  oops: opt(oneOrMany(pattern)),
});
const checks = oneOrMany(checkMap);

const snapshot = object({ stack: opt(oneOrMany(scalar)), disassemble: opt(oneOrMany(site)) });

/** What a step may do, and the keys that go with it. */
export const VERBS = {
  load: ['params', 'faults', 'exit', 'background'],
  unload: ['faults', 'exit', 'background'],
  write: ['to', 'faults', 'exit', 'background'],
  read: ['output', 'faults', 'exit', 'background'],
  enable: ['faults', 'exit', 'background'],
  disable: ['faults', 'exit', 'background'],
  force: ['faults', 'exit', 'background'],
  spawn: [],
  kill: ['signal'],
  wait: [],
  until: ['within'],
  snapshot: [],
  check: [],
  patch: ['classic', 'faults'],
  settle: [],
} as const satisfies Record<string, readonly string[]>;
export type VerbName = keyof typeof VERBS;

const step = object({
  at: opt(duration),
  after: opt(duration),
  load: opt(text),
  params: opt(z.union([z.string(), z.record(z.string(), scalar)])),
  unload: opt(text),
  write: opt(scalar),
  to: opt(guestPath),
  read: opt(guestPath),
  output: opt(oneOrMany(pattern)),
  enable: opt(text),
  disable: opt(text),
  force: opt(text),
  spawn: opt(object(taskShape)),
  kill: opt(scalar),
  signal: opt(z.int().check(z.minimum(1), z.maximum(31))),
  wait: opt(duration),
  until: opt(checks),
  within: opt(duration),
  snapshot: opt(snapshot),
  check: opt(checks),
  patch: opt(oneOrMany(text)),
  classic: opt(oneOrMany(text)),
  settle: opt(z.literal(true)),
  faults: opt(z.union([z.array(object(faultShape)), object(faultShape), z.literal('every')])),
  exit: opt(exitCode),
  background: opt(flag),
});

export const scenarioSchema = object({
  name: opt(text),
  about: opt(text),
  models: opt(
    z
      .array(z.enum(MACHINE_OPTIONS.model.choices))
      .check(
        z.refine(
          (all) => all.length > 1 && new Set(all).size === all.length,
          'must be two models or more, each once',
        ),
      ),
  ),
  machine: opt(machine),
  limit: opt(duration),
  modules: opt(z.array(text)),
  files: opt(z.record(z.string(), object({ text: opt(text), from: opt(text) }))),
  tasks: opt(z.array(task)),
  faults: opt(oneOrMany(fault)),
  steps: opt(z.array(step)),
  expect: opt(checks),
});

export type RawScenario = z.infer<typeof scenarioSchema>;
export type RawStep = z.infer<typeof step>;
export type RawTask = z.infer<typeof task>;
export type RawMachine = z.infer<typeof machine>;
export type RawFault = z.infer<typeof fault>;
export type RawChecks = z.infer<typeof checks>;
export type CheckMap = z.infer<typeof checkMap>;
export type CheckKind = keyof CheckMap;
