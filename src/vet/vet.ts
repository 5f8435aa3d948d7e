// The verdict on a livepatch: each part asked in turn, on the kernel that it is for.
//
// Invariant: a part that could not be asked says so; a machine that ends while it is asked is what the part found.

import type { CheckableArch } from '../arch/arch.ts';
import type { TextRun } from '../callgraph/calls.ts';
import { CallGraph, type GraphPart } from '../callgraph/graph.ts';
import { fromHalves, TEXT_HI } from '../guest/addr.ts';
import { type CodeObject, kernelObject, moduleObject } from './code_object.ts';
import { CodeReader } from './code_reader.ts';
import { failingAllocations } from './failing_allocations.ts';
import { type Finding, PARTS, type Part, type Verdict, verdictOf } from './finding.ts';
import { type KernelCode, kernelCode } from './kernel_code.ts';
import { Cycle, comesAndGoes, ofError } from './lifecycle.ts';
import { loads } from './loads.ts';
import { ModuleCode } from './module_code.ts';
import type { ModuleLibrary } from './module_library.ts';
import { type PatchFile, readPatch } from './patch_file.ts';
import { type Located, locate, patchable } from './patchable.ts';
import { StallForecast } from './stall.ts';
import { type FoundThreads, findThreads } from './threads.ts';
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
  async vet({ path, bytes }: VetInput): Promise<VetReport> {
    const started = performance.now();
    const { description } = this.#code;
    const patch = readPatch(path, bytes, this.#arch, description, this.#options.params);
    const olds = this.#options.olds.map((old) => readPatch(old.path, old.bytes, this.#arch, description));
    const run = new VetRun(this.#code, this.#arch, this.#options, this.#kernelObject, patch, olds);
    const findings = await run.findings();
    return {
      file: path,
      patch: patch.name,
      kernel: description.release,
      verdict: verdictOf(findings),
      findings: PARTS.flatMap((part) => findings.filter((finding) => finding.part === part)),
      ms: Math.round(performance.now() - started),
    };
  }
}

class VetRun {
  readonly #code: KernelCode;
  readonly #arch: CheckableArch;
  readonly #options: VetOptions;
  readonly #kernelObject: CodeObject;
  readonly #patch: PatchFile;
  readonly #olds: readonly PatchFile[];
  readonly #findings: Finding[] = [];

  constructor(
    code: KernelCode,
    arch: CheckableArch,
    options: VetOptions,
    kernel: CodeObject,
    patch: PatchFile,
    olds: readonly PatchFile[],
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
    if (this.#patch.unread !== undefined)
      this.#note('patchable', 'not seen', `its file does not say what it patches: ${this.#patch.unread}`);
    tell('its code');
    this.#findings.push(...soundForUnwinder(this.#patch));
    const targets = this.#targets();
    tell('loading');
    const world = await World.boot(kernel, modules);
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

  /** Modules that it is for and that can be loaded; the others are said. */
  #targets(): string[] {
    const { modules, vmlinuxOnly } = this.#options;
    const wanted = this.#patch.objects.flatMap(({ module, functions }) =>
      module === undefined ? [] : [{ module, count: functions.length }],
    );
    if (vmlinuxOnly) {
      for (const { module, count } of wanted)
        this.#note('loads', 'told', `${module} is left out, as was asked: ${count} functions`);
      return [];
    }
    return wanted.flatMap(({ module }) => {
      if (modules.order(module)) return [module];
      const where =
        modules.folder === undefined ? 'no --modules says where' : `it is not in ${modules.folder}`;
      this.#note('loads', 'not seen', `${module}, which it is for, is not looked at: ${where}`);
      return [];
    });
  }

  #functions({ machine, codes }: World, targets: readonly string[], isLoaded: boolean): void {
    const there = targets.filter((target) => machine.inspect.modules.find(target));
    const objects = new Map([[undefined as string | undefined, this.#kernelObject]]);
    for (const target of there) objects.set(target, moduleObject(machine, target));
    const located = this.#patch.objects.flatMap(({ module, functions }) => {
      const object = objects.get(module);
      return object ? functions.map((one) => locate(object, one)) : [];
    });
    for (const one of located) this.#findings.push(...patchable(one));
    const own = isLoaded ? new ModuleCode(machine, this.#patch.name) : codes.get(this.#patch.name);
    const known = there.flatMap((target) => codes.get(target) ?? []);
    const { graph, reader } = this.#read(
      [...known, ...(own ? [own] : [])].map((code) => code.part('core')),
      [...known, ...(own ? [own] : [])].map(({ core }) => core),
    );
    const place = (address: number): string =>
      machine.inspect.core.symbols.format(fromHalves(TEXT_HI, address));
    if (own) this.#findings.push(...strays(graph, own.name, place));
    this.#stall(graph, reader, located, known, own);
  }

  #stall(
    graph: CallGraph,
    reader: CodeReader,
    located: readonly Located[],
    targets: readonly ModuleCode[],
    own: ModuleCode | undefined,
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
    if (!own)
      this.#note('stall', 'not seen', 'its own functions are not looked at: they never were in memory');
    for (const { functions } of own ? this.#patch.objects : [])
      for (const { newName } of functions) say(newName, own?.find(newName), true);
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

  #note(part: Part, weight: Finding['weight'], text: string): void {
    this.#findings.push({ part, weight, text });
  }
}
