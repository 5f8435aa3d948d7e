// Workloads of klpemu compare: from a YAML file to checked steps. What is wrong is told with its place in the file.

import { readdirSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import * as z from 'zod/mini';
import { fileOfModule } from '../../elf/unpack.ts';
import { FAULT_POINTS } from '../../kernel/fault_inject.ts';
import { type Problem, ScenarioError } from '../../scenario/error.ts';
import { kindOf, OTHER_KIND } from '../../scenario/file_kind.ts';
import { problemsOf } from '../../scenario/issues.ts';
import { packingProblem } from '../../scenario/other_files.ts';
import { readText } from '../../scenario/parse.ts';
import { object } from '../../scenario/schema.ts';
import { type Path, YamlSource } from '../../scenario/source.ts';
import { parseDuration } from '../../scenario/units.ts';

const count = z.int().check(z.minimum(1));
/** `allocation` is any of kmalloc and module_alloc. */
const fault = object({
  fail: z.enum(['allocation', ...FAULT_POINTS]),
  nth: z.optional(count),
  times: z.optional(count),
  of: z.optional(z.string()),
});
/** `every`: each call of the step that can fail, in turn, on a machine of its own. */
const faults = z.optional(z.union([z.literal('every'), z.array(fault)]));

const load = object({
  load: z.string(),
  params: z.optional(z.string()),
  background: z.optional(z.boolean()),
  faults,
});
const unload = object({ unload: z.string(), faults });
const enable = object({
  /** Members of a bundle; what the classic model loads for it, where that is not the same modules. */
  enable: z.array(z.string()).check(z.minLength(1)),
  classic: z.optional(z.array(z.string()).check(z.minLength(1))),
  faults,
});
const duration = z
  .string()
  .check(z.refine((text) => parseDuration(text) !== undefined, 'no duration: 250ms, 1.5s'));
const wait = object({ wait: duration });
const settle = object({ settle: z.literal(true) });
/** By the key that says what a step is. */
const STEPS = { load, unload, enable, wait, settle };

const workload = object({
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

/** @throws ScenarioError with all that is wrong, also when the file cannot be read. */
export function readWorkload(file: string): Workload {
  const source = new YamlSource(readText(file), file);
  if (kindOf(source.value) === 'scenario')
    throw new ScenarioError([source.problem([], `${OTHER_KIND.scenario} ${file}`)]);
  const work = checked(source, workload, source.value, []);
  const modules = join(dirname(file), work.modules);
  const problems: Problem[] = [];
  const steps = work.steps.flatMap((step, i) => checkedStep(source, step, i, modules, problems));
  if (problems.length > 0) throw new ScenarioError(problems);
  return { ...work, steps, modules };
}

function checkedStep(
  source: YamlSource,
  raw: Record<string, unknown>,
  index: number,
  modules: string,
  problems: Problem[],
): WorkloadStep[] {
  const path: Path = ['steps', index];
  const kinds = Object.keys(STEPS) as (keyof typeof STEPS)[];
  const kind = kinds.find((key) => key in raw);
  try {
    if (!kind) throw new ScenarioError([source.problem(path, `a step is one of ${kinds.join(', ')}`)]);
    const step = checked<WorkloadStep>(source, STEPS[kind], raw, path);
    if ('background' in step && step.background && step.faults)
      throw new ScenarioError([source.problem(path, 'a step in the background can have no faults')]);
    problems.push(...missingModules(source, step, index, modules));
    return [step];
  } catch (error) {
    if (!(error instanceof ScenarioError)) throw error;
    problems.push(...error.problems);
    return [];
  }
}

function missingModules(source: YamlSource, step: WorkloadStep, index: number, dir: string): Problem[] {
  const named: [Path, string][] =
    'load' in step
      ? [[['load'], step.load]]
      : 'enable' in step
        ? (['enable', 'classic'] as const).flatMap((key) =>
            (step[key] ?? []).map((name, i): [Path, string] => [[key, i], name]),
          )
        : [];
  return named.flatMap(([at, name]) => {
    const path = moduleFile(dir, name);
    const what = path === undefined ? `no such file: ${join(dir, `${name}.ko`)}` : packingProblem(path);
    return what === undefined ? [] : [source.problem(['steps', index, ...at], what)];
  });
}

/** Path of a module of the folder, packed or not. */
export function moduleFile(dir: string, name: string): string | undefined {
  const folder = dirname(join(dir, name));
  try {
    const file = fileOfModule(basename(name), readdirSync(folder));
    return file && join(folder, file);
  } catch {
    return undefined;
  }
}

function checked<T>(source: YamlSource, schema: z.ZodMiniType<T>, raw: unknown, path: Path): T {
  const result = schema.safeParse(raw, { reportInput: true });
  if (result.success) return result.data;
  throw new ScenarioError(problemsOf(result.error.issues, source, path));
}
