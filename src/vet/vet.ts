// The verdict on a livepatch: each part asked in turn, on the kernel that it is for.
//
// Invariant: a part that could not be asked says so; a machine that ends while it is asked is what the part found.

import type { CheckableArch } from '../arch/arch.ts';
import type { TextRun } from '../callgraph/calls.ts';
import { CallGraph, type GraphPart } from '../callgraph/graph.ts';
import { fromHalves, TEXT_HI } from '../guest/addr.ts';
import { type CodeObject, kernelObject, moduleObject } from './code_object.ts';
import { CodeReader } from './code_reader.ts';
import { Cycle } from './cycle.ts';
import { failingAllocations } from './failing_allocations.ts';
import { type Finding, PARTS, type Part, type Verdict, verdictOf } from './finding.ts';
import { type KernelCode, kernelCode } from './kernel_code.ts';
import { comesAndGoes, ofError } from './lifecycle.ts';
import { loads } from './loads.ts';
import { ModuleCode } from './module_code.ts';
import type { ModuleLibrary } from './module_library.ts';
import type { PatchFile } from './patch_file.ts';
import { type Located, locate, patchable } from './patchable.ts';
import { StallForecast } from './stall.ts';
import { readSubject, type Subject } from './subject.ts';
import { targetsOf } from './targets.ts';
import { type FoundThreads, findThreads } from './threads.ts';
import { together } from './together.ts';
import { soundForUnwinder, strays } from './unwinder.ts';
import { World } from './world.ts';

export interface VetInput {
  readonly path: string;
  readonly bytes: Uint8Array;
}

export interface VetOptions {
  /** A file, or a release that is installed; '' for the built-in kernel. */
  readonly kernel: string;
  readonly modules: ModuleLibrary;
  /** Parameters of the patches. */
  readonly params?: string;
  /** Livepatches that are there before. */
  readonly olds: readonly VetInput[];
  /** Modules are left out, as was asked. */
  readonly vmlinuxOnly: boolean;
  readonly tell: (what: string) => void;
}

export interface VetReport {
  readonly file: string;
  readonly patch: string;
  /** The kernel's release. */
  readonly kernel: string;
  readonly verdict: Verdict;
  readonly findings: readonly Finding[];
  readonly ms: number;
}

/** For several patches of one kernel, what is known of the kernel is read once. */
export class Vet {
  readonly #code: KernelCode;
  readonly #arch: CheckableArch;
  readonly #options: VetOptions;
  readonly #kernelObject: CodeObject;

  private constructor(code: KernelCode, arch: CheckableArch, options: VetOptions) {
    this.#code = code;
    this.#arch = arch;
    this.#options = options;
    this.#kernelObject = kernelObject(code, arch.fentry.maxOffset);
  }

  /** @throws KernelFileError for a kernel that cannot be had */
  static async of(arch: CheckableArch, options: VetOptions): Promise<Vet> {
    return new Vet(await kernelCode(options.kernel, arch), arch, options);
  }

  /** @throws VetError, ElfError for a file that is no livepatch */
  async vet(input: VetInput): Promise<VetReport> {
    const started = performance.now();
    const { description } = this.#code;
    const patch = this.#read(input, this.#options.params);
    const olds = this.#options.olds.map((old) => this.#read(old));
    const run = new VetRun(this.#code, this.#arch, this.#options, this.#kernelObject, patch, olds);
    return reportOf(input.path, patch.name, description.release, await run.findings(), started);
  }

  /** All of them on one machine, in this order. @throws VetError, ElfError */
  async together(inputs: readonly VetInput[]): Promise<VetReport> {
    const started = performance.now();
    const { kernel, modules, params, tell } = this.#options;
    const subjects = inputs.map((input) => this.#read(input, params));
    const { names, findings } = targetsOf(subjects, this.#options);
    const world = await World.boot(kernel, modules, hasBundle(subjects));
    try {
      return reportOf(
        inputs.map(({ path }) => path).join(', '),
        subjects.map(({ name }) => name).join(', '),
        this.#code.description.release,
        [...findings, ...together(world, subjects, names, tell)],
        started,
      );
    } finally {
      world.close();
    }
  }

  #read({ path, bytes }: VetInput, params?: string): Subject {
    return readSubject(path, bytes, this.#arch, this.#code.description, params);
  }
}

const hasBundle = (subjects: readonly Subject[]): boolean => subjects.some(({ isBundle }) => isBundle);

function reportOf(
  file: string,
  patch: string,
  kernel: string,
  findings: readonly Finding[],
  started: number,
): VetReport {
  return {
    file,
    patch,
    kernel,
    verdict: verdictOf(findings),
    findings: PARTS.flatMap((part) => findings.filter((finding) => finding.part === part)),
    ms: Math.round(performance.now() - started),
  };
}

class VetRun {
  readonly #code: KernelCode;
  readonly #arch: CheckableArch;
  readonly #options: VetOptions;
  readonly #kernelObject: CodeObject;
  readonly #patch: Subject;
  readonly #olds: readonly Subject[];
  readonly #findings: Finding[] = [];

  constructor(
    code: KernelCode,
    arch: CheckableArch,
    options: VetOptions,
    kernel: CodeObject,
    patch: Subject,
    olds: readonly Subject[],
  ) {
    this.#code = code;
    this.#arch = arch;
    this.#options = options;
    this.#kernelObject = kernel;
    this.#patch = patch;
    this.#olds = olds;
  }

  async findings(): Promise<readonly Finding[]> {
    const { kernel, modules, tell } = this.#options;
    for (const member of this.#patch.members) {
      if (member.unread !== undefined)
        this.#note(
          'patchable',
          'not seen',
          `its file does not say what it patches: ${member.unread}`,
          member,
        );
      tell('its code');
      for (const finding of soundForUnwinder(member))
        this.#findings.push({ ...this.#of(member), ...finding });
    }
    const { names: targets, findings } = targetsOf([this.#patch], this.#options);
    this.#findings.push(...findings);
    tell('loading');
    const world = await World.boot(kernel, modules, hasBundle([this.#patch, ...this.#olds]));
    try {
      this.#onMachine(world, targets);
    } finally {
      world.close();
    }
    return this.#findings;
  }

  #onMachine(world: World, targets: readonly string[]): void {
    const { tell } = this.#options;
    const cycle = new Cycle(world, this.#patch, targets, this.#olds);
    let isLoaded = false;
    try {
      const loaded = loads(world, this.#patch, targets);
      this.#findings.push(...loaded.findings);
      isLoaded = loaded.isLoaded;
    } catch (error) {
      this.#findings.push({ ...ofError(error, 'loading', world.oopses), part: 'loads' });
    }
    tell('functions');
    this.#functions(world, targets, isLoaded);
    if (!isLoaded) {
      this.#note('comes and goes', 'not seen', 'not tried: it does not load');
      return;
    }
    this.#comesAndGoes(cycle, world);
  }

  #comesAndGoes(cycle: Cycle, world: World): void {
    const { tell } = this.#options;
    try {
      cycle.settled(`enabling ${this.#patch.name}`);
      cycle.off();
      world.rest();
    } catch (error) {
      this.#findings.push(ofError(error, 'enabling it for the first time', world.oopses));
      this.#note('comes and goes', 'not seen', 'not tried after that: everything else');
      return;
    }
    const ways = comesAndGoes(cycle, tell);
    this.#findings.push(...ways);
    if (ways.some(({ weight }) => weight === 'bad'))
      this.#note('comes and goes', 'not seen', 'not tried after that: allocations that fail');
    else this.#findings.push(...failingAllocations(cycle, tell));
  }

  #functions({ machine, codes }: World, targets: readonly string[], isLoaded: boolean): void {
    const there = targets.filter((target) => machine.inspect.modules.find(target));
    const objects = new Map([[undefined as string | undefined, this.#kernelObject]]);
    for (const target of there) objects.set(target, moduleObject(machine, target));
    const located = this.#objects().flatMap(({ module, functions }) => {
      const object = objects.get(module);
      return object ? functions.map((one) => locate(object, one)) : [];
    });
    for (const one of located) this.#findings.push(...patchable(one));
    const own = this.#patch.members.flatMap(({ name }) => {
      const isThere = isLoaded && machine.inspect.modules.find(name) !== undefined;
      return (isThere ? new ModuleCode(machine, name) : codes.get(name)) ?? [];
    });
    const known = there.flatMap((target) => codes.get(target) ?? []);
    const { graph, reader } = this.#read(
      [...known, ...own].map((code) => code.part('core')),
      [...known, ...own].map(({ core }) => core),
    );
    const place = (address: number): string =>
      machine.inspect.core.symbols.format(fromHalves(TEXT_HI, address));
    for (const { name } of own) this.#findings.push(...strays(graph, name, place));
    this.#stall(graph, reader, located, known, own);
  }

  #stall(
    graph: CallGraph,
    reader: CodeReader,
    located: readonly Located[],
    targets: readonly ModuleCode[],
    own: readonly ModuleCode[],
  ): void {
    const found = [findThreads(graph, reader, undefined), ...targets.map((code) => this.#threadsOf(code))];
    const threads = new Map(
      found.flatMap((one) => one.threads.map(({ start, maker }) => [graph.at(start), maker] as const)),
    );
    const forecast = new StallForecast(graph, reader, threads);
    const say = (name: string, start: number | undefined, isNew: boolean): void => {
      const func = start === undefined ? -1 : graph.at(start);
      if (func >= 0) this.#findings.push(...forecast.of({ name, func, isNew }));
    };
    for (const { wanted, symbol } of located) say(wanted.name, symbol?.start, false);
    for (const member of this.#patch.members) {
      const code = own.find(({ name }) => name === member.name);
      if (!code)
        this.#note(
          'stall',
          'not seen',
          'its own functions are not looked at: they never were in memory',
          member,
        );
      for (const { functions } of code ? member.objects : [])
        for (const { newName } of functions) say(newName, code?.find(newName), true);
    }
    const unknown = found.reduce((sum, one) => sum + one.unknown, 0);
    if (unknown > 0)
      this.#note(
        'stall',
        'told',
        `kernel threads are made at ${unknown} places of functions that are handed there: which, is not known`,
      );
  }

  /** Threads that a module makes: in its init, most of them. */
  #threadsOf(code: ModuleCode): FoundThreads {
    const { graph, reader } = this.#read([code.part('core'), code.part('init')], [code.core, code.init]);
    return findThreads(graph, reader, code.name);
  }

  /** The kernel's code with that of modules. */
  #read(parts: readonly GraphPart[], runs: readonly TextRun[]): { graph: CallGraph; reader: CodeReader } {
    const { description, current, part, runs: kernel, aliases } = this.#code;
    const graph = new CallGraph([part, ...parts], aliases);
    const reader = new CodeReader(graph, [...kernel, ...runs], this.#arch.code, {
      current,
      state: description.structs.task_struct.fields.__state,
      constants: description.constants,
    });
    return { graph, reader };
  }

  #objects(): PatchFile['objects'] {
    return this.#patch.members.flatMap(({ objects }) => objects);
  }

  /** What says that a finding is about one of several modules. */
  #of({ name }: PatchFile): Pick<Finding, 'about'> {
    return this.#patch.members.length > 1 ? { about: name } : {};
  }

  #note(part: Part, weight: Finding['weight'], text: string, member?: PatchFile): void {
    this.#findings.push({ part, weight, ...(member ? this.#of(member) : {}), text });
  }
}
