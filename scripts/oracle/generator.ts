// Random operations: drawn by one seeded source from the vocabulary. What was loaded is remembered, as far as it can be
// known without running anything, so that most operations speak of what is there.

import { SeededRandom } from '../../src/kernel/random.ts';
import { type Source, TracingRows } from './tracing_rows.ts';
import {
  BOOLEANS,
  LOOKS,
  MODULE_FILES,
  NUMBERS,
  PATCH_FILES,
  PATCHES,
  type PatchModule,
  REFUSED,
  TARGETS,
  type TargetModule,
} from './vocabulary.ts';

type Kind = (draw: Draw) => string;

const FTRACE_ENABLED = '/proc/sys/kernel/ftrace_enabled';
const EXTRA = '/lib/modules';

/** Each kind of operation, and how often it comes. */
const KINDS: readonly (readonly [weight: number, kind: Kind])[] = [
  [10, (draw) => draw.loadTarget()],
  [16, (draw) => draw.loadPatch()],
  [3, (draw) => draw.load(draw.one(REFUSED))],
  [12, (draw) => draw.unload()],
  [16, (draw) => draw.enable()],
  [3, (draw) => `echo ${quoted(draw.one(BOOLEANS))} > ${draw.folder()}/force`],
  [3, (draw) => `echo ${quoted(draw.one(BOOLEANS))} > ${draw.folder()}/${draw.one(PATCH_FILES)}`],
  [9, (draw) => `cat ${draw.folder()}/${draw.one(PATCH_FILES)}`],
  [5, (draw) => `ls -l ${draw.folder()}`],
  [4, (draw) => draw.object()],
  [3, (draw) => `stat -c '%A %a %U:%G %F %s %h %n' ${draw.folder()}/${draw.one(PATCH_FILES)}`],
  [6, (draw) => draw.readParameter()],
  [8, (draw) => draw.writeParameter()],
  [5, (draw) => `cat /sys/module/${draw.module()}/${draw.one(MODULE_FILES)}`],
  [3, (draw) => `ls ${draw.one(['', '-l '])}/sys/module/${draw.module()}/holders`],
  [3, (draw) => `ls -l /sys/module/${draw.module()}/${draw.one(['parameters', ''])}`],
  [8, (draw) => draw.one(LOOKS)],
  [6, (draw) => draw.one(draw.target().looks) ?? 'lsmod'],
  [2, (draw) => `echo ${quoted(draw.one(['1', '1', '1', '0', 'x', '2', '']))} > ${FTRACE_ENABLED}`],
  [2, (draw) => `grep ${draw.one(['klpdemo_new', 'klpbundle_core', 'ftrace_trampoline'])} /proc/kallsyms`],
  [4, (draw) => draw.order()],
  [5, ({ tracing }) => tracing.tracer()],
  [8, ({ tracing }) => tracing.filter()],
  [2, ({ tracing }) => tracing.notrace()],
  [12, ({ tracing }) => tracing.run()],
  [16, ({ tracing }) => tracing.look()],
  [4, ({ tracing }) => tracing.switchOn()],
  [9, ({ tracing }) => tracing.probe()],
  [8, ({ tracing }) => tracing.enable()],
  [2, ({ tracing }) => tracing.allProbes()],
  [3, (draw) => draw.load(draw.tracing.module())],
  [5, ({ tracing }) => tracing.parameter()],
];
const TOTAL = KINDS.reduce((sum, [weight]) => sum + weight, 0);

/** The same for the same seed and release. */
export function generate(count: number, seed: number, release: string): string[] {
  const draw = new Draw(new SeededRandom(seed), release);
  return Array.from({ length: count }, () => draw.operation());
}

const quoted = (word: string): string => (/^[\w.-]+$/.test(word) ? word : `'${word}'`);

class Draw implements Source {
  readonly tracing = new TracingRows(this);
  readonly #random: SeededRandom;
  readonly #release: string;
  readonly #loaded = new Set<string>();

  constructor(random: SeededRandom, release: string) {
    this.#random = random;
    this.#release = release;
  }

  operation(): string {
    let left = this.#random.below(TOTAL);
    for (const [weight, kind] of KINDS) {
      if (left < weight) return kind(this);
      left -= weight;
    }
    throw new RangeError(`no kind of operation for ${left}`);
  }

  one<T>(list: readonly T[]): T {
    return list[this.#random.below(list.length)];
  }

  chance(percent: number): boolean {
    return this.#random.below(100) < percent;
  }

  /** One that was loaded, mostly; any, else. */
  #known<T extends { name: string }>(all: readonly T[]): T {
    const there = all.filter(({ name }) => this.#loaded.has(name));
    return there.length > 0 && this.chance(92) ? this.one(there) : this.one(all);
  }

  target(): TargetModule {
    return this.#known(TARGETS);
  }

  #patch(): PatchModule {
    return this.#known(PATCHES);
  }

  module(): string {
    return this.#known([...TARGETS, ...PATCHES]).name;
  }

  folder(): string {
    return `/sys/kernel/livepatch/${this.#patch().name}`;
  }

  load([name, ...parameters]: readonly string[]): string {
    const words = parameters.map(quoted).join(' ');
    const command = this.chance(60)
      ? `modprobe ${name}`
      : `insmod ${EXTRA}/${this.#release}/extra/${name}.ko`;
    return words === '' ? command : `${command} ${words}`;
  }

  loadTarget(): string {
    return this.#loadOf(this.one(TARGETS));
  }

  loadPatch(): string {
    return this.#loadOf(this.one(PATCHES));
  }

  #loadOf({ name, parameters }: TargetModule | PatchModule): string {
    const given = parameters
      .filter(() => this.chance(25))
      .map(({ name: word, values }) => `${word}=${this.one(values)}`);
    if (this.chance(3)) given.push(this.one(['nothing=1', 'nothing', 'replace', 'block=maybe', 'depth=x']));
    this.#loaded.add(name);
    return this.load([name, ...given]);
  }

  unload(): string {
    const name = this.module();
    if (this.chance(50)) this.#loaded.delete(name);
    return this.one([`rmmod ${name}`, `rmmod ${name}`, `modprobe -r ${name}`]);
  }

  /** Several modules at once, whatever needs whatever. */
  order(): string {
    const names = [this.module(), this.module()].join(' ');
    if (this.chance(40)) {
      for (const name of names.split(' ')) this.#loaded.add(name);
      return `modprobe -a ${names}`;
    }
    return this.one([`rmmod ${names}`, `modprobe -r ${names}`, `modprobe --first-time ${this.module()}`]);
  }

  enable(): string {
    const value = this.chance(75) ? '0' : this.chance(60) ? '1' : this.one(BOOLEANS);
    return `echo ${quoted(value)} > ${this.folder()}/enabled`;
  }

  object(): string {
    const { name, objects } = this.#patch();
    const [object, functions] = this.one([...objects]);
    const path = `/sys/kernel/livepatch/${name}/${object}`;
    return this.one([
      `ls -l ${path}`,
      `ls ${path}`,
      `cat ${path}/patched`,
      `echo 1 > ${path}/patched`,
      `ls -l ${path}/${this.one(functions)},1`,
      `stat -c '%A %a %U:%G %F %s %h %n' ${path}/patched`,
    ]);
  }

  #parameter(): { path: string; name: string } {
    const all = [...TARGETS, ...PATCHES].filter(({ parameters }) => parameters.length > 0);
    const { name: module, parameters } = this.#known(all);
    const { name } = this.one(parameters);
    return { path: `/sys/module/${module}/parameters/${name}`, name };
  }

  readParameter(): string {
    return `cat ${this.#parameter().path}`;
  }

  writeParameter(): string {
    const { path, name } = this.#parameter();
    const values = ['block', 'body', 'replace'].includes(name) ? BOOLEANS : NUMBERS;
    // A time of days would keep a thread asleep until the machine ends.
    const value = name.endsWith('_ms') ? this.one(['0', '10', '60', 'x', '']) : this.one(values);
    return `echo ${quoted(value)} > ${path}`;
  }
}
