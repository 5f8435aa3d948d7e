// The steps of a scenario: each does one thing, at a time that does not lie before the step above it.

import { MODULE_FILE, moduleName } from '../elf/unpack.ts';
import { UAPI } from '../kernel/uapi.ts';
import { buildChecks } from './build_checks.ts';
import { ONLY_COMPARED } from './compared.ts';
import type { Problem } from './error.ts';
import { buildFaults } from './faults.ts';
import { IMMEDIATE } from './issues.ts';
import type {
  ActionStep,
  LocatedModule,
  ModuleFile,
  PatchStep,
  SettleStep,
  Step,
  TaskSpec,
} from './scenario.ts';
import { type RawStep, type RawTask, VERBS, type VerbName } from './schema.ts';
import { type Path, pathText, type YamlSource } from './source.ts';
import type { Pattern } from './values.ts';

/** Times and modules that steps refer to, and how their parts are made. */
interface StepContext {
  readonly limit: number;
  readonly modules: readonly ModuleFile[];
  /** The steps are of a comparison. */
  readonly compared: boolean;
  module(path: string, at: Path): ModuleFile | undefined;
  task(raw: RawTask, at: Path): TaskSpec;
}

const DEFAULT_WITHIN = 60e9;
const ANYWHERE = new Set(['at', 'after']);

/** The file in which 0, 1 and 1 do what these verbs say. */
const PATCH_FILES = {
  disable: { text: '0', file: 'enabled' },
  enable: { text: '1', file: 'enabled' },
  force: { text: '1', file: 'force' },
} as const;

type BuiltStep = Step | PatchStep | SettleStep;

export class StepBuilder {
  readonly #source: YamlSource;
  readonly #problems: Problem[];
  readonly #context: StepContext;

  constructor(source: YamlSource, problems: Problem[], context: StepContext) {
    this.#source = source;
    this.#problems = problems;
    this.#context = context;
  }

  build(raw: readonly RawStep[]): BuiltStep[] {
    let latest = 0;
    return raw.flatMap((step, i) => {
      const path = ['steps', i];
      if (step.at !== undefined) {
        if (step.at < latest) this.#problem([...path, 'at'], 'lies before the time of a step above it');
        if (step.at > this.#context.limit) this.#problem([...path, 'at'], "lies beyond the scenario's limit");
        if (step.after !== undefined) this.#problem(path, "has both 'at' and 'after'");
        latest = Math.max(latest, step.at);
      }
      return this.#step(step, path);
    });
  }

  #problem(path: Path, reason: string): [] {
    this.#problems.push(this.#source.problem(path, reason));
    return [];
  }

  #step(raw: RawStep, path: Path): BuiltStep[] {
    const keys = Object.keys(raw).filter((key) => !ANYWHERE.has(key));
    const verbs = keys.filter((key): key is VerbName => key in VERBS);
    if (verbs.length !== 1) {
      const all = Object.keys(VERBS)
        .filter((verb) => this.#context.compared || !ONLY_COMPARED.includes(verb as VerbName))
        .join(', ');
      return this.#problem(
        path,
        verbs.length
          ? `does ${verbs.join(' and ')}: a step does one thing`
          : `does nothing: it needs one of ${all}`,
      );
    }
    const [verb] = verbs;
    const allowed: readonly string[] = VERBS[verb];
    for (const key of keys) {
      if (key !== verb && !allowed.includes(key))
        this.#problem([...path, key], `'${key}' does not go with '${verb}'`);
    }
    return this.#verb(verb, raw, path);
  }

  #located(path: Path) {
    return { place: this.#source.place(path), path: pathText(path) };
  }

  #base(raw: RawStep, path: Path) {
    return {
      ...this.#located(path),
      ...(raw.at === undefined ? {} : { at: raw.at }),
      ...(raw.after === undefined ? {} : { after: raw.after }),
    };
  }

  #verb(verb: VerbName, raw: RawStep, path: Path): BuiltStep[] {
    const base = this.#base(raw, path);
    switch (verb) {
      case 'load':
        return this.#load(raw, path);
      case 'unload': {
        const name = moduleName(raw.unload as string);
        return [this.#action(raw, path, { verb, command: `rmmod ${name}`, target: name })];
      }
      case 'write':
        if (raw.to === undefined) return this.#problem(path, "'write' needs 'to', the file to write to");
        return [this.#write(raw, path, raw.write as string, raw.to)];
      case 'read':
        return [this.#action(raw, path, { verb, command: `cat ${raw.read}`, target: raw.read as string })];
      case 'enable':
      case 'disable':
      case 'force': {
        const { text, file } = PATCH_FILES[verb];
        return [
          this.#write(raw, path, text, `/sys/kernel/livepatch/${moduleName(raw[verb] as string)}/${file}`),
        ];
      }
      case 'spawn':
        return [{ ...base, verb, task: this.#context.task(raw.spawn as RawTask, [...path, 'spawn']) }];
      case 'kill':
        return [{ ...base, verb, task: raw.kill as string, signal: raw.signal ?? UAPI.SIGKILL }];
      case 'wait':
        return [{ ...base, verb, duration: raw.wait as number }];
      case 'until':
        return [
          {
            ...base,
            verb,
            checks: this.#checks(raw.until, [...path, verb]),
            within: raw.within ?? DEFAULT_WITHIN,
          },
        ];
      case 'snapshot':
        return [
          { ...base, verb, stack: list(raw.snapshot?.stack), disassemble: list(raw.snapshot?.disassemble) },
        ];
      case 'check':
        return [{ ...base, verb, checks: this.#checks(raw.check, [...path, verb]) }];
      case 'patch':
        return [this.#patch(raw, path)];
      case 'settle':
        return [{ ...base, verb }];
    }
  }

  #checks(raw: RawStep['check'], path: Path) {
    return buildChecks(raw, path, this.#source);
  }

  #action(raw: RawStep, path: Path, what: Pick<ActionStep, 'verb' | 'command' | 'target'>): ActionStep {
    return {
      ...this.#base(raw, path),
      ...what,
      output: list<Pattern>(raw.output),
      outputAt: this.#located([...path, 'output']),
      ...this.#faults(raw, path),
      exit: raw.exit ?? 0,
      background: raw.background ?? false,
    };
  }

  #faults({ faults }: RawStep, path: Path): Pick<ActionStep, 'faults' | 'everyFault'> {
    const everyFault = faults === 'every';
    const specs = faults === 'every' ? undefined : faults;
    return { faults: buildFaults(specs, [...path, 'faults'], this.#source), everyFault };
  }

  #patch(raw: RawStep, path: Path): PatchStep {
    const members = this.#modules(raw.patch, [...path, 'patch']);
    const classic = raw.classic === undefined ? members : this.#modules(raw.classic, [...path, 'classic']);
    return { ...this.#base(raw, path), verb: 'patch', members, classic, ...this.#faults(raw, path) };
  }

  #modules(names: string | readonly string[] | undefined, path: Path): LocatedModule[] {
    const all = list<string>(names);
    if (all.length === 0) this.#problem(path, 'must have at least one module');
    return all.flatMap((name, i) => {
      const at = Array.isArray(names) ? [...path, i] : path;
      const module = this.#module(name, at);
      return module ? [{ ...this.#located(at), module }] : [];
    });
  }

  #write(raw: RawStep, path: Path, text: string, target: string): ActionStep {
    const command = `echo ${/^[\w.,:/-]+$/.test(text) ? text : `'${text}'`} > ${target}`;
    return { ...this.#action(raw, path, { verb: 'write', command, target }), text };
  }

  #load(raw: RawStep, path: Path): Step[] {
    const wanted = raw.load as string;
    const at = [...path, 'load'];
    const module = this.#module(wanted, at);
    if (!module) return [];
    const params = this.#params(raw.params, [...path, 'params']);
    const command = `insmod ${module.name}.ko${params ? ` ${params}` : ''}`;
    return [
      { ...this.#action(raw, path, { verb: 'load', command, target: module.guestPath }), module, params },
    ];
  }

  /** One that is listed, by its name, or another by its path; undefined where its problem has been noted. */
  #module(wanted: string, at: Path): ModuleFile | undefined {
    const known = this.#context.modules.find((module) => module.name === moduleName(wanted));
    if (known) return known;
    if (MODULE_FILE.test(wanted)) return this.#context.module(wanted, at);
    this.#problem(at, `no module '${wanted}' in 'modules', and not the path of one (.ko)`);
    return undefined;
  }

  /** `a=1 b=2`, also from a map. */
  #params(raw: RawStep['params'], path: Path): string {
    const text =
      typeof raw === 'object'
        ? Object.entries(raw)
            .map(([name, value]) => `${name}=${value.includes(' ') ? `"${value}"` : value}`)
            .join(' ')
        : (raw ?? '');
    if (/(^|\s)immediate(=|\s|$)/.test(text)) this.#problem(path, IMMEDIATE);
    return text;
  }
}

const list = <T>(value: T | readonly T[] | undefined): readonly T[] =>
  value === undefined ? [] : Array.isArray(value) ? (value as readonly T[]) : [value as T];
