// A run as it happens, for a person: the kernel's own lines as dmesg has them, and between them what it does
// not print: sites rewritten, who switched by which way, who could not and where it stands.

import type { EventType, KernelEvent } from '../../kernel/events.ts';
import { logPrefix } from '../../kernel/printk.ts';
import { holeLine } from '../../machine/truth/hole_text.ts';
import { exitText } from '../../scenario/exit_text.ts';
import { insnText } from '../../scenario/insn_text.ts';
import type { RunObserver } from '../../scenario/run_options.ts';
import type { Step } from '../../scenario/scenario.ts';
import { nameTarget, siteAddr } from '../../scenario/text.ts';
import { hexBytes } from '../../scenario/trace.ts';
import { formatDuration } from '../../scenario/units.ts';
import type { ActionRun, World } from '../../scenario/world.ts';
import { type Colors, wrap } from '../terminal.ts';

interface NarrateOptions {
  readonly colors: Colors;
  readonly width: number;
  readonly verbose: boolean;
  readonly write: (text: string) => void;
}

/** Under the time of a kernel line. */
const INDENT = ' '.repeat(logPrefix(0).length);
/** Bytes of code listed by a snapshot. */
const SNAPSHOT_BYTES = 32;
/** So many tasks of one name are listed one by one. */
const MANY = 8;

const TOLD = [
  'printk',
  'ftrace',
  'patch_state',
  'blocked',
  'transition',
  'gap',
  'hole',
  'leak',
  'note',
] as const;
const TOLD_VERBOSE = ['poke', 'int3', 'task', 'module'] as const;

type Event<K extends KernelEvent['type']> = Extract<KernelEvent, { type: K }>;

/** Items that wait to be printed between two slices. */
type Item = () => string | Promise<string>;

export class Narrator implements RunObserver {
  readonly eventTypes: readonly EventType[];
  readonly #options: NarrateOptions;
  readonly #queue: Item[] = [];
  #switches: Event<'patch_state'>[] = [];
  /** Children born switched in this transition: how many of each comm. */
  #born = new Map<string, number>();
  #target: number | undefined;
  #running: Event<'blocked'>[] = [];
  readonly #told = new Set<string>();
  #lastKernelLine = '';
  /** Whose line was printed last. */
  #command: Step | undefined;
  #world: World | undefined;

  constructor(options: NarrateOptions) {
    this.#options = options;
    this.eventTypes = options.verbose ? [...TOLD, ...TOLD_VERBOSE] : TOLD;
  }

  booted(world: World): void {
    this.#world = world;
  }

  event(event: KernelEvent): void {
    switch (event.type) {
      case 'printk':
        this.#lastKernelLine = event.text;
        this.#say(() => this.#kernelLine(event));
        break;
      case 'ftrace':
        this.#say(() => this.#site(event));
        break;
      case 'patch_state':
        this.#switched(event);
        break;
      case 'blocked':
        this.#blocked(event);
        break;
      case 'transition':
        this.#transition(event);
        break;
      case 'note':
        this.#say(() => this.#note(event));
        break;
      case 'hole':
        this.#say(() => this.#hole(event));
        break;
      case 'gap':
        this.#say(() => this.#gap(event));
        break;
      case 'leak':
        this.#say(() => this.#leak(event));
        break;
      default:
        this.#verbose(event);
    }
  }

  stepStarted(step: Step, t: number): void {
    const { colors } = this.#options;
    if ('command' in step) {
      this.#command = step;
      this.#say(() => `${prefix(t, colors)}${colors.cyan(`$ ${step.command}`)}\n`);
    } else if (step.verb === 'spawn' || step.verb === 'kill') {
      this.#command = undefined;
      const what =
        step.verb === 'spawn' ? [step.task.program, ...step.task.args].join(' ') : `kill ${step.task}`;
      this.#say(() => `${prefix(t, colors)}${colors.cyan(`$ ${what} &`)}\n`);
    }
  }

  /** What a command wrote stands under it; when another has begun since, under a line of its own. */
  actionEnded({ step, task, startedAt, endedAt = startedAt }: ActionRun): void {
    const { colors } = this.#options;
    if (task.exit === 0 && task.stdout === '') return;
    if (step !== this.#command) {
      const begun = colors.dim(`(begun at ${formatDuration(startedAt)})`);
      this.#say(() => `${prefix(endedAt, colors)}${colors.cyan(`$ ${step.command}`)} ${begun}\n`);
      this.#command = step;
    }
    if (task.exit !== 0)
      this.#say(() => `${INDENT}${colors.yellow(`${step.command.split(' ')[0]}: ${exitText(task.exit)}`)}\n`);
    if (task.stdout !== '') this.#say(() => quote(task.stdout, colors));
  }

  async snapshot({ stack, disassemble }: Extract<Step, { verb: 'snapshot' }>, world: World): Promise<void> {
    const { write, colors } = this.#options;
    await this.end();
    for (const name of stack) {
      for (const task of world.tasks(name))
        write(`${INDENT}${colors.bold(`${task}`)}\n${lines(task.stack())}`);
    }
    const { listCode } = await import('../../scenario/text.ts');
    for (const site of disassemble) {
      const addr = siteAddr(world.machine, site);
      if (addr === undefined) write(`${INDENT}${site.text}: no such symbol\n`);
      else {
        const insns = await listCode(world.machine, addr, SNAPSHOT_BYTES);
        write(
          `${INDENT}${colors.bold(`<${nameTarget(world.machine, addr) ?? site.text}>`)}\n${lines(insns.map(insnText))}`,
        );
      }
    }
  }

  async flush(): Promise<void> {
    for (let item = this.#queue.shift(); item; item = this.#queue.shift()) this.#options.write(await item());
  }

  #transition({ what, target }: Event<'transition'>): void {
    if (what === 'starting') {
      this.#told.clear();
      this.#target = target;
    } else if (what === 'complete' || what === 'reversing') {
      this.#sayBorn();
      this.#target = undefined;
    }
  }

  /** A child of a task that has yet to switch will switch later; those born switched may be very many. */
  #switched(event: Event<'patch_state'>): void {
    if (event.to !== this.#target) return;
    if (event.way !== 'fork') this.#switches.push(event);
    else this.#born.set(event.comm, (this.#born.get(event.comm) ?? 0) + 1);
  }

  #sayBorn(): void {
    const words = [...this.#born].map(([comm, n]) => (n === 1 ? comm : `${comm} x${n}`));
    this.#born = new Map();
    if (words.length > 0) this.#say(() => this.#list('born switched', words, this.#options.colors.green));
  }

  #list(heading: string, words: readonly string[], paint: (text: string) => string): string {
    const text = wrap(`${INDENT}${heading}`, words, this.#options.width, `${INDENT}  `);
    return `${INDENT}${paint(heading)}${text.slice(INDENT.length + heading.length)}\n`;
  }

  /** Prints what was held back to be put together. */
  async end(): Promise<void> {
    this.#sayGroups();
    await this.flush();
  }

  #say(item: Item): void {
    this.#sayGroups();
    this.#queue.push(item);
  }

  /** Switches and "is running" come many at a time: one line each way. */
  #sayGroups(): void {
    const { yellow, green } = this.#options.colors;
    const running = this.#running;
    const switches = this.#switches;
    this.#running = [];
    this.#switches = [];
    if (running.length > 0)
      this.#queue.push(() =>
        this.#list(
          'running',
          byComm(running, () => ''),
          yellow,
        ),
      );
    for (const way of new Set(switches.map((one) => one.way))) {
      const ones = switches.filter((one) => one.way === way);
      const words = byComm(ones, (one) => ` +${formatDuration(one.sinceNs)}`);
      this.#queue.push(() => this.#list(`switched by ${way}`, words, green));
    }
  }

  #note({ text }: Event<'note'>): string {
    const { width, colors } = this.#options;
    // Words as they fit; at least forty columns, however narrow the terminal.
    const fit = new RegExp(`.{1,${Math.max(40, width - INDENT.length)}}(?= |$)`, 'g');
    const lines = `klpemu: ${text}`.match(fit) ?? [];
    return lines.map((line) => `${INDENT}${colors.yellow(line.trim())}\n`).join('');
  }

  #kernelLine({ t, level, text }: Event<'printk'>): string {
    const { colors } = this.#options;
    const paint = level <= 3 ? colors.red : level === 4 ? colors.yellow : (line: string) => line;
    return `${prefix(t, colors)}${paint(text)}\n`;
  }

  #gap(event: Event<'gap'>): string {
    const { colors } = this.#options;
    const what = `${event.version} of ${event.func}, chosen before patch_state was ${event.patchState}`;
    return `${INDENT}${colors.red('gap')} ${name(event)} runs ${what} (docs/findings.md)\n`;
  }

  #leak({ module, objects }: Event<'leak'>): string {
    const { colors } = this.#options;
    const callers = new Map<string, number[]>();
    for (const { caller, size } of objects) callers.set(caller, [...(callers.get(caller) ?? []), size]);
    const lines = [...callers].map(
      ([caller, sizes]) =>
        `${INDENT}  ${sizes.length} of ${[...new Set(sizes)].join(', ')} bytes by ${caller}\n`,
    );
    return `${INDENT}${colors.red('leak')} ${module} goes and leaves memory behind\n${lines.join('')}`;
  }

  #hole(event: Event<'hole'>): string {
    const { colors } = this.#options;
    return `${INDENT}${colors.red('hole')} ${holeLine(event)}\n`;
  }

  async #site({ ip, where, before, after }: Event<'ftrace'>): Promise<string> {
    const { colors } = this.#options;
    const machine = this.#world?.machine;
    if (!machine) return '';
    // The bytes of then: by now they may be others again.
    const disassemble = await machine.inspect.core.arch.loadDisassembler();
    const symbolize = (addr: bigint) => {
      const target = nameTarget(machine, addr);
      return target && `0x${addr.toString(16)} <${target}>`;
    };
    const line = (bytes: Uint8Array) =>
      `${hexBytes(bytes)}  ${disassemble(bytes, ip, { symbolize })
        .map((insn) => insn.text)
        .join('; ')}`;
    return (
      `${INDENT}${colors.magenta('fentry site')} ${where} at ${ip.toString(16)}\n` +
      `${INDENT}  before ${line(before)}\n${INDENT}  after  ${line(after)}\n`
    );
  }

  #blocked(event: Event<'blocked'>): void {
    const key = `${event.pid} ${event.why}`;
    if (this.#told.has(key)) return;
    this.#told.add(key);
    const { colors } = this.#options;
    if (event.why === 'is running') {
      this.#running.push(event);
      return;
    }
    // With dynamic debug the kernel has just said it.
    const said = this.#lastKernelLine.endsWith(`${name(event)} ${event.why}`);
    const head = said ? '' : `${INDENT}${colors.yellow('cannot switch')} ${name(event)} ${event.why}\n`;
    this.#say(() => head + lines(event.stack));
  }

  #verbose(event: KernelEvent): void {
    const { colors } = this.#options;
    const tell = (text: string) => this.#say(() => `${INDENT}${colors.dim(text)}\n`);
    if (event.type === 'poke') {
      const { where, step, before, after } = event;
      tell(`poke ${where} ${step}: ${hexBytes(before)} -> ${hexBytes(after)}`);
    } else if (event.type === 'int3') tell(`int3 at ${event.where}: ${event.emulated}`);
    else if (event.type === 'task') tell(`${event.what === 'new' ? 'new task' : 'exit'} ${name(event)}`);
    else if (event.type === 'module') tell(`module ${event.name} ${event.state}`);
  }
}

function name({ comm, pid }: { comm: string; pid: number }): string {
  return `${comm}:${pid}`;
}

/** Each task with its note; of many with one name how many, and the notes of the first and the last. */
function byComm<T extends { comm: string; pid: number }>(
  tasks: readonly T[],
  note: (task: T) => string,
): string[] {
  const groups = new Map<string, T[]>();
  for (const task of tasks) {
    const group = groups.get(task.comm);
    if (group) group.push(task);
    else groups.set(task.comm, [task]);
  }
  return [...groups].flatMap(([comm, group]) => {
    if (group.length <= MANY) return group.map((task) => `${name(task)}${note(task)}`);
    const notes = [note(group[0]), note(group[group.length - 1])];
    return [`${comm} x${group.length}${notes[0]}${notes[0] === notes[1] ? '' : ` to${notes[1]}`}`];
  });
}

function prefix(t: number, colors: Colors): string {
  return colors.dim(logPrefix(t));
}

function lines(texts: readonly string[]): string {
  return texts.map((text) => `${INDENT}  ${text}\n`).join('');
}

function quote(text: string, colors: Colors): string {
  const shown = text.replace(/\n$/, '').split('\n');
  return shown.map((line) => `${INDENT}${colors.dim('|')} ${line}\n`).join('');
}
