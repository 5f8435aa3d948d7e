// Workloads of klpemu compare: from a YAML file to checked steps. What is wrong is told with its place in the file.

import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { parse } from 'yaml';
import * as z from 'zod/mini';
import { FAULT_POINTS } from '../kernel/fault_inject.ts';
import { parseDuration } from '../scenario/units.ts';
import { UsageError } from './exit.ts';

const count = z.int().check(z.minimum(1));
/** `allocation` is any of kmalloc and module_alloc. */
const fault = z.strictObject({
  fail: z.enum(['allocation', ...FAULT_POINTS]),
  nth: z.optional(count),
  times: z.optional(count),
  of: z.optional(z.string()),
});
/** `every`: each call of the step that can fail, in turn, on a machine of its own. */
const faults = z.optional(z.union([z.literal('every'), z.array(fault)]));

const load = z.strictObject({
  load: z.string(),
  params: z.optional(z.string()),
  background: z.optional(z.boolean()),
  faults,
});
const unload = z.strictObject({ unload: z.string(), faults });
const enable = z.strictObject({
  /** Members of a bundle; what the classic model loads for it, where that is not the same modules. */
  enable: z.array(z.string()).check(z.minLength(1)),
  classic: z.optional(z.array(z.string()).check(z.minLength(1))),
  faults,
});
const duration = z
  .string()
  .check(z.refine((text) => parseDuration(text) !== undefined, 'no duration: 250ms, 1.5s'));
const wait = z.strictObject({ wait: duration });
const settle = z.strictObject({ settle: z.literal(true) });
/** By the key that says what a step is. */
const STEPS = { load, unload, enable, wait, settle };

const workload = z.strictObject({
  name: z.string(),
  about: z.optional(z.string()),
  /** Folder of the modules, from the file's own. */
  modules: z.string(),
  steps: z.array(z.record(z.string(), z.unknown())).check(z.minLength(1)),
});

export type WorkloadFault = z.infer<typeof fault>;
export type WorkloadStep = {
  [Kind in keyof typeof STEPS]: z.infer<(typeof STEPS)[Kind]>;
}[keyof typeof STEPS];
export interface Workload extends Omit<z.infer<typeof workload>, 'steps'> {
  readonly steps: readonly WorkloadStep[];
}

/** @throws UsageError */
export function readWorkload(file: string): Workload {
  let raw: unknown;
  try {
    raw = parse(readFileSync(file, 'utf8'));
  } catch (error) {
    throw new UsageError(`${file}: ${(error as Error).message}`);
  }
  const work = checked(file, workload, raw, []);
  const steps = work.steps.map((step, i) => checkedStep(file, step, i));
  return { ...work, steps, modules: join(dirname(file), work.modules) };
}

function checkedStep(file: string, raw: Record<string, unknown>, index: number): WorkloadStep {
  const kinds = Object.keys(STEPS) as (keyof typeof STEPS)[];
  const kind = kinds.find((key) => key in raw);
  const path = ['steps', index];
  if (!kind) throw new UsageError(`${file}: ${path.join('.')}: a step is one of ${kinds.join(', ')}`);
  const step: WorkloadStep = checked<WorkloadStep>(file, STEPS[kind], raw, path);
  if ('background' in step && step.background && step.faults)
    throw new UsageError(`${file}: ${path.join('.')}: a step in the background can have no faults`);
  return step;
}

function checked<T>(file: string, schema: z.ZodMiniType<T>, raw: unknown, path: readonly PropertyKey[]): T {
  const result = schema.safeParse(raw);
  if (result.success) return result.data;
  const issue = deepest(result.error.issues[0]);
  const where = [...path, ...issue.path].join('.');
  const what =
    issue.code === 'unrecognized_keys' ? `unknown key '${issue.keys.join("', '")}'` : issue.message;
  throw new UsageError(`${file}: ${where ? `${where}: ` : ''}${what}`);
}

/** Of alternatives, the one that the value came furthest in. */
function deepest(issue: z.core.$ZodIssue): z.core.$ZodIssue {
  if (issue.code !== 'invalid_union') return issue;
  const inner = issue.errors.flatMap((issues) => issues.slice(0, 1)).map(deepest);
  const [first] = inner.sort((a, b) => b.path.length - a.path.length);
  return first ? { ...first, path: [...issue.path, ...first.path] } : issue;
}
