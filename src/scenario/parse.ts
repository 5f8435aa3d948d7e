// From the text of a scenario file to a Scenario, or to everything that is wrong with it.

import { basename } from 'node:path';
import { MODULE_FILE } from '../elf/unpack.ts';
import { programProblem } from '../machine/user/programs.ts';
import { buildChecks } from './build_checks.ts';
import { StepBuilder } from './build_steps.ts';
import { isCompared, isRun, notCompared, onlyCompared, type Refusal } from './compared.ts';
import { type Problem, ScenarioError } from './error.ts';
import { buildFaults } from './faults.ts';
import { type FileAccess, FileTooLargeError, hostFile, readScenarioBytes } from './host_file.ts';
import { problemsOf, UNSAID } from './issues.ts';
import { otherThanText, packingProblem } from './other_files.ts';
import type { Comparison, GuestFile, ModuleFile, Scenario, TaskSpec } from './scenario.ts';
import { type RawScenario, type RawTask, scenarioSchema } from './schema.ts';
import { type Path, YamlSource } from './source.ts';

const DEFAULT_LIMIT = 120e9;

/** @throws ScenarioError, also when the file cannot be read. */
export function loadScenario(file: string, access: FileAccess = {}): Scenario {
  return parseScenario(readText(file), file, access);
}

function readText(file: string): string {
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
  const { raw, source } = parsed(text, file);
  if (raw.models)
    throw new ScenarioError([
      source.problem(['models'], `this scenario compares models: klpemu compare ${file}`),
    ]);
  return built(raw, source, access, (builder) => builder.build());
}

/** A scenario with `models`. */
export function loadComparison(file: string, access: FileAccess = {}): Comparison {
  const { raw, source } = parsed(readText(file), file);
  const { models } = raw;
  if (!models)
    throw new ScenarioError([
      source.problem([], `this scenario has no 'models' to compare: klpemu run ${file}`),
    ]);
  return built(raw, source, access, (builder) => builder.comparison(models));
}

function parsed(text: string, file: string): { raw: RawScenario; source: YamlSource } {
  const source = new YamlSource(text, file);
  if (source.value === null) throw new ScenarioError([source.problem([], 'the scenario is empty')]);
  const result = scenarioSchema.safeParse(source.value, {
    reportInput: true,
    error: () => UNSAID,
  });
  if (!result.success) throw new ScenarioError(problemsOf(result.error.issues, source));
  return { raw: result.data, source };
}

function built<T>(
  raw: RawScenario,
  source: YamlSource,
  access: FileAccess,
  build: (builder: Builder) => T,
): T {
  const problems: Problem[] = [];
  const scenario = build(new Builder(raw, source, problems, access));
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
    this.#refuse(onlyCompared(raw));
    const limit = raw.limit ?? DEFAULT_LIMIT;
    const modules = this.#modules();
    const tasks = (raw.tasks ?? []).map((task, i) => this.#task(task, task.start ?? 0, ['tasks', i]));
    const steps = this.#steps(modules, limit, false).filter(isRun);
    return {
      ...this.#head(limit),
      modules: allModules(modules, steps),
      files: this.#files(),
      tasks,
      steps,
      faults: buildFaults(raw.faults, ['faults'], source),
      expect: buildChecks(raw.expect, ['expect'], source),
    };
  }

  comparison(models: Comparison['models']): Comparison {
    this.#refuse(notCompared(this.#raw));
    const limit = this.#raw.limit ?? DEFAULT_LIMIT;
    const modules = this.#modules();
    const steps = this.#steps(modules, limit, true).filter(isCompared);
    return { ...this.#head(limit), models, modules: allModules(modules, steps), files: this.#files(), steps };
  }

  #refuse(refusals: readonly Refusal[]): void {
    for (const { path, reason } of refusals) {
      const place = this.#source.keyPlace(path);
      this.#problems.push({ ...this.#source.problem(path, reason), place });
    }
  }

  #head(limit: number): Pick<Scenario, 'file' | 'name' | 'about' | 'machine' | 'limit'> {
    const { name, about, machine } = this.#raw;
    const { file } = this.#source;
    return {
      file,
      name: name ?? basename(file).replace(/\.ya?ml$/, ''),
      about: (about ?? '').trim(),
      machine: this.#machine(machine ?? {}),
      limit,
    };
  }

  /** A kernel is a release, or a file as any other that a scenario names. */
  #machine(machine: Scenario['machine']): Scenario['machine'] {
    const { kernel } = machine;
    if (!kernel?.includes('/')) return machine;
    return { ...machine, kernel: this.#onHost(kernel, ['machine', 'kernel']) ?? kernel };
  }

  #modules(): ModuleFile[] {
    return (this.#raw.modules ?? []).flatMap((path, i) => this.#module(path, ['modules', i]));
  }

  #steps(modules: readonly ModuleFile[], limit: number, compared: boolean) {
    return new StepBuilder(this.#source, this.#problems, {
      limit,
      modules,
      compared,
      module: (path, at) => this.#module(path, at)[0],
      task: (task, at) => this.#task(task, 0, at),
    }).build(this.#raw.steps ?? []);
  }

  #files(): GuestFile[] {
    return Object.entries(this.#raw.files ?? {}).flatMap(([path, entry]) => this.#file(path, entry));
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
    const { program, args, ...pose } = raw.pose ? this.#posed(raw, at) : this.#program(raw, at);
    const name = raw.name ?? raw.comm ?? (raw.pose ? 'posed' : program);
    return {
      name,
      program,
      args,
      ...pose,
      comm: raw.comm ?? name.slice(0, 15),
      count: raw.count ?? 1,
      start,
      place: this.#source.place(at),
    };
  }

  #program(raw: RawTask, at: Path): Pick<TaskSpec, 'program' | 'args'> {
    const { program = '', args = [] } = raw;
    if (raw.program === undefined) this.#problem(at, "needs a 'program', or a 'pose'");
    for (const key of ['for', 'state'] as const)
      if (raw[key] !== undefined) this.#problem([...at, key], "belongs to a task with a 'pose'");
    const wrong = raw.program === undefined ? undefined : programProblem(program, args);
    if (wrong !== undefined) this.#problem([...at, 'program'], wrong);
    return { program, args };
  }

  #posed(raw: RawTask, at: Path): Pick<TaskSpec, 'program' | 'args' | 'pose'> {
    const { pose: chain = [], for: ns, state = 'interruptible' } = raw;
    for (const key of ['program', 'args'] as const)
      if (raw[key] !== undefined) this.#problem([...at, key], "a task has either a 'program' or a 'pose'");
    if (ns === undefined) this.#problem([...at, 'pose'], "needs 'for': how long it stands there");
    return { program: 'posed', args: [], pose: { chain, ms: (ns ?? 0) / 1e6, state } };
  }
}

/** Those listed and those that only a step names, each once. */
function allModules(
  listed: readonly ModuleFile[],
  steps: Scenario['steps'] | Comparison['steps'],
): ModuleFile[] {
  const byPath = new Map(listed.map((module) => [module.guestPath, module]));
  for (const step of steps) for (const module of modulesOf(step)) byPath.set(module.guestPath, module);
  return [...byPath.values()];
}

function modulesOf(step: Scenario['steps'][number] | Comparison['steps'][number]): ModuleFile[] {
  if (step.verb === 'patch') return [...step.members, ...step.classic].map(({ module }) => module);
  return 'module' in step && step.module ? [step.module] : [];
}
