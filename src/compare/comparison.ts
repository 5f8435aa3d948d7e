// From a scenario with `models` to what is run under each of them: the modules' bytes are read, and each patch module's
// object is known, so that whatever cannot be run is told with its place before anything runs.

import { readFileSync } from 'node:fs';
import { unpack } from '../elf/unpack.ts';
import { type Problem, ScenarioError } from '../scenario/error.ts';
import type { FileAccess } from '../scenario/host_file.ts';
import { loadComparison } from '../scenario/parse.ts';
import type { Comparison, LocatedModule, PatchStep } from '../scenario/scenario.ts';
import { bundledFiles, bundlingProblem } from './bundled.ts';

export interface Workload extends Comparison {
  /** Of each of its modules, by name. */
  readonly bytes: ReadonlyMap<string, Uint8Array>;
}

/** @throws ScenarioError with all that is wrong, also when a file cannot be read. */
export function readWorkload(file: string, access: FileAccess = {}): Workload {
  const comparison = loadComparison(file, access);
  const { modules, models, steps } = comparison;
  const bytes = new Map(modules.map(({ name, path }) => [name, unpack(readFileSync(path), path)]));
  const members = steps
    .filter((step): step is PatchStep => step.verb === 'patch')
    .flatMap((step) => (models.some((model) => model !== 'classic') ? step.members : []));
  const problems = members.flatMap((member) => memberProblem(member, bytes));
  if (problems.length === 0 && models.includes('per-object modules'))
    for (const step of steps) if (step.verb === 'patch') problems.push(...mainProblem(step, bytes));
  if (problems.length > 0) throw new ScenarioError(problems);
  return { ...comparison, bytes };
}

/** By the module for vmlinux the others of a livepatch are known. */
function mainProblem({ members: [first, ...rest] }: PatchStep, bytes: Workload['bytes']): Problem[] {
  if (!first) return [];
  const files = [first, ...rest].flatMap(({ module }) =>
    bundledFiles(module.name, bytes.get(module.name) ?? new Uint8Array(), 'patch'),
  );
  if (files.some(({ object }) => object === 'vmlinux')) return [];
  const { place, path } = first;
  return [{ place, path, reason: "under 'per-object modules' one of 'patch' is to be for vmlinux" }];
}

/** A bundle is made with the modules that its members are for. */
function memberProblem({ place, path, module }: LocatedModule, bytes: Workload['bytes']): Problem[] {
  try {
    const files = bundledFiles(module.name, bytes.get(module.name) ?? new Uint8Array(), 'bundle');
    const missing = files.filter(({ object }) => object !== 'vmlinux' && !bytes.has(object));
    return missing.map(({ object }) => ({
      place,
      path,
      reason: `'${module.name}' is for '${object}', which is to be in 'modules'`,
    }));
  } catch (error) {
    return [{ place, path, reason: bundlingProblem(error) }];
  }
}
