// From the text of a scenario file to a Scenario, or to everything that is wrong with it.

import { basename } from 'node:path';
import { MODULE_FILE } from '../elf/unpack.ts';
import { programProblem } from '../machine/programs.ts';
import { buildChecks } from './build_checks.ts';
import { StepBuilder } from './build_steps.ts';
import { type Problem, ScenarioError } from './error.ts';
import { buildFaults } from './faults.ts';
import { kindOf, OTHER_KIND } from './file_kind.ts';
import { type FileAccess, FileTooLargeError, hostFile, readScenarioBytes } from './host_file.ts';
import { problemsOf } from './issues.ts';
import { otherThanText, packingProblem } from './other_files.ts';
import type { GuestFile, ModuleFile, Scenario, TaskSpec } from './scenario.ts';
import { type RawScenario, type RawTask, scenarioSchema } from './schema.ts';
import { type Path, YamlSource } from './source.ts';

const DEFAULT_LIMIT = 120e9;

/** @throws ScenarioError, also when the file cannot be read. */
export function loadScenario(file: string, access: FileAccess = {}): Scenario {
  return parseScenario(readText(file), file, access);
}

export function readText(file: string): string {
  try {
    const bytes = readScenarioBytes(file);
    const other = otherThanText(bytes);
    if (other !== undefined)
      throw new ScenarioError([{ place: { file, line: 1, column: 1 }, path: '', reason: other }]);
    return bytes.toString('utf8');
  } catch (error) {
    if (error instanceof ScenarioError) throw error;
    const code = (error as NodeJS.ErrnoException).code;
    const known = { ENOENT: 'no such file', EISDIR: 'is a directory' }[code ?? ''];
    const reason = known ?? (error instanceof FileTooLargeError ? error.message : String(error));
    throw new ScenarioError([{ place: { file, line: 1, column: 1 }, path: '', reason }]);
  }
}

/** @param file where the text is from: paths in it are relative to that file. */
export function parseScenario(text: string, file: string, access: FileAccess = {}): Scenario {
  const source = new YamlSource(text, file);
  if (source.value === null) throw new ScenarioError([source.problem([], 'the scenario is empty')]);
  const parsed = scenarioSchema.safeParse(source.value, { reportInput: true });
  if (!parsed.success && kindOf(source.value) === 'workload')
    throw new ScenarioError([source.problem([], `${OTHER_KIND.workload} ${file}`)]);
  if (!parsed.success) throw new ScenarioError(problemsOf(parsed.error.issues, source));
  const problems: Problem[] = [];
  const scenario = new Builder(parsed.data, source, problems, access).build();
  if (problems.length > 0) throw new ScenarioError(problems);
  return scenario;
}

class Builder {
  readonly #raw: RawScenario;
  readonly #source: YamlSource;
  readonly #problems: Problem[];
  readonly #access: FileAccess;

  constructor(raw: RawScenario, source: YamlSource, problems: Problem[], access: FileAccess) {
    this.#access = access;
    this.#raw = raw;
    this.#source = source;
    this.#problems = problems;
  }

  build(): Scenario {
    const raw = this.#raw;
    const source = this.#source;
    const limit = raw.limit ?? DEFAULT_LIMIT;
    const modules = (raw.modules ?? []).flatMap((path, i) => this.#module(path, ['modules', i]));
    const tasks = (raw.tasks ?? []).map((task, i) => this.#task(task, task.start ?? 0, ['tasks', i]));
    const steps = new StepBuilder(source, this.#problems, {
      limit,
      modules,
      module: (path, at) => this.#module(path, at)[0],
      task: (task, at) => this.#task(task, 0, at),
    }).build(raw.steps ?? []);
    return {
      file: source.file,
      name: raw.name ?? basename(source.file).replace(/\.ya?ml$/, ''),
      about: (raw.about ?? '').trim(),
      machine: raw.machine ?? {},
      limit,
      modules: allModules(modules, steps),
      files: Object.entries(raw.files ?? {}).flatMap(([path, entry]) => this.#file(path, entry)),
      tasks,
      steps,
      faults: buildFaults(raw.faults, ['faults'], source),
      expect: buildChecks(raw.expect, ['expect'], source),
    };
  }

  #problem(path: Path, reason: string): [] {
    this.#problems.push(this.#source.problem(path, reason));
    return [];
  }

  #onHost(path: string, at: Path): string | undefined {
    const found = hostFile(this.#source.file, path, this.#access);
    if ('path' in found) return found.path;
    this.#problem(at, found.problem);
    return undefined;
  }

  #module(path: string, at: Path): ModuleFile[] {
    if (!MODULE_FILE.test(path)) return this.#problem(at, `'${path}' is not the path of a module (.ko)`);
    const host = this.#onHost(path, at);
    if (host === undefined) return [];
    const packed = packingProblem(host);
    if (packed !== undefined) return this.#problem(at, packed);
    const file = basename(path).replace(MODULE_FILE, '.ko');
    // As kbuild names a module: the file's dashes are underscores.
    const name = file.slice(0, -'.ko'.length).replaceAll('-', '_');
    return [{ name, path: host, guestPath: `/lib/modules/${file}` }];
  }

  #file(
    guestPath: string,
    { text, from }: { text?: string | undefined; from?: string | undefined },
  ): GuestFile[] {
    const at = ['files', guestPath];
    if (!guestPath.startsWith('/')) return this.#problem(at, 'must be an absolute path in the guest');
    if ((text === undefined) === (from === undefined))
      return this.#problem(at, "needs either 'text' or 'from'");
    if (text !== undefined) return [{ guestPath, text }];
    const host = this.#onHost(from as string, [...at, 'from']);
    return host === undefined ? [] : [{ guestPath, from: host }];
  }

  #task(raw: RawTask, start: number, at: Path): TaskSpec {
    const name = raw.name ?? raw.comm ?? raw.program;
    const wrong = programProblem(raw.program, raw.args ?? []);
    if (wrong !== undefined) this.#problem([...at, 'program'], wrong);
    return {
      name,
      program: raw.program,
      args: raw.args ?? [],
      comm: raw.comm ?? name.slice(0, 15),
      count: raw.count ?? 1,
      start,
      place: this.#source.place(at),
    };
  }
}

/** Those listed and those that only a step names, each once. */
function allModules(listed: readonly ModuleFile[], steps: Scenario['steps']): ModuleFile[] {
  const byPath = new Map(listed.map((module) => [module.guestPath, module]));
  for (const step of steps) {
    if ('module' in step && step.module) byPath.set(step.module.guestPath, step.module);
  }
  return [...byPath.values()];
}
