// Answers packets of gdb's remote protocol. gdb's manual, appendix E, has them; what is not in the table is answered by
// nothing, which says that it is not supported.
//
// Invariant: every packet has exactly one answer, whatever is in it; a malformed one is an error, and changes nothing.

import type { DebugPort } from '../arch/debug.ts';
import { DebugError } from '../history/error.ts';
import type { TaskStruct } from '../kernel/task_struct.ts';
import { readMemory, writeMemory } from './guest_memory.ts';
import { bytesOf, countOf, fromLittleEndian, hexOf, hexText, littleEndian, numberOf, textOf } from './hex.ts';
import { HostFiles } from './host_files.ts';
import type { Monitor } from './monitor.ts';
import { Documents, OBJECT_NAMES } from './objects.ts';
import { escaped, PACKET_MAX } from './packet.ts';
import { breakOrWatch } from './point_packets.ts';
import { TaskRegisters } from './registers.ts';
import type { Session } from './session.ts';
import type { Stop } from './stop.ts';
import { SymbolFiles } from './symbol_files.ts';
import { threadOf, threadText } from './threads.ts';

/** Errors, by their numbers in errno.h. */
const [EPERM, ESRCH, EFAULT, EINVAL] = ['E01', 'E03', 'E0e', 'E16'];
const OK = 'OK';
const UNSUPPORTED = '';
/** Bytes that one packet reads at most. */
const MOST_READ = PACKET_MAX / 2 - 16;

/** How it ends, where the debugger has it end. */
export type Farewell = 'detached' | 'killed';

export class Stub {
  readonly #session: Session;
  readonly #port: DebugPort;
  readonly #monitor: Monitor;
  readonly #say: (text: string) => void;
  readonly #files: HostFiles;
  readonly #documents: Documents;
  /** The thread that registers and memory are of. */
  #thread: number;
  #last: Stop;
  #knowsKind = false;
  farewell: Farewell | undefined;

  /**
   * @param say something for the person at the debugger, while it waits
   * @throws DebugError where the port has nothing for debuggers
   */
  constructor(session: Session, monitor: Monitor, say: (text: string) => void) {
    const port = session.machine.inspect.core.arch.debug;
    if (!port) throw new DebugError('this architecture has no port for debuggers');
    this.#port = port;
    this.#session = session;
    this.#monitor = monitor;
    this.#say = say;
    this.#files = new HostFiles((name) => new SymbolFiles(session.machine, port).read(name));
    this.#documents = new Documents(session);
    this.#thread = session.thread;
    this.#last = { thread: session.thread, reason: { kind: 'step' } };
  }

  /** @returns what is answered; undefined: nothing, the debugger is gone */
  async answer(packet: string): Promise<string | undefined> {
    if (packet === 'qC') return this.currentThread();
    const named = NAMED.find(([name]) => packet.startsWith(name));
    if (named) return named[1](this, packet.slice(named[0].length));
    const one = Object.hasOwn(LETTERS, packet[0] ?? '') ? LETTERS[packet[0]] : undefined;
    return one ? one(this, packet.slice(1)) : UNSUPPORTED;
  }

  supported(theirs: string): string {
    this.#knowsKind = /(^|[;:])swbreak\+/.test(theirs);
    return [
      `PacketSize=${PACKET_MAX.toString(16)}`,
      'QStartNoAckMode+',
      ...OBJECT_NAMES.map((name) => `qXfer:${name}:read+`),
      ...['swbreak+', 'hwbreak+', 'vContSupported+', 'binary-upload+'],
      ...(this.#session.goesBack ? ['ReverseStep+', 'ReverseContinue+'] : []),
    ].join(';');
  }

  document(request: string): string {
    return this.#documents.answer(request) ?? UNSUPPORTED;
  }
  file(request: string): string {
    return this.#files.answer(request) ?? UNSUPPORTED;
  }

  /** `g`, `p`: registers of the chosen thread. */
  registers(): string {
    const task = this.#task();
    return task ? this.#values().all(task) : ESRCH;
  }
  register(number: string): string {
    const task = this.#task();
    const index = countOf(number);
    if (!task) return ESRCH;
    return index === undefined ? EINVAL : (this.#values().one(task, index) ?? EINVAL);
  }
  setRegister(text: string): string {
    const [number = '', value = ''] = text.split('=');
    const [index, bits, task] = [countOf(number), fromLittleEndian(value), this.#task()];
    const known = index === undefined ? undefined : this.#port.registers[index];
    if (!known || bits === undefined || value.length !== 2 * known.bytes) return EINVAL;
    if (!task) return ESRCH;
    if (this.#isPast()) return EPERM;
    if (!this.#values().set(task, index as number, bits)) return EPERM;
    this.#changed();
    return OK;
  }
  /** `G`: those that are there are set; what is not known of one was x, and stays. */
  setRegisters(text: string): string {
    const task = this.#task();
    const total = this.#port.registers.reduce((sum, { bytes }) => sum + 2 * bytes, 0);
    if (!task) return ESRCH;
    if (text.length !== total || !/^(?:[0-9a-fx]{2})*$/i.test(text)) return EINVAL;
    if (this.#isPast()) return EPERM;
    const before = this.#values().all(task);
    const set: [number, bigint][] = [];
    let at = 0;
    for (const [i, { bytes }] of this.#port.registers.entries()) {
      const part = text.slice(at, at + 2 * bytes);
      if (part.length === 2 * bytes && part !== before.slice(at, at + 2 * bytes)) {
        const value = fromLittleEndian(part);
        if (value !== undefined) set.push([i, value]);
      }
      at += 2 * bytes;
    }
    const values = this.#values();
    // What cannot be set is refused before anything is.
    if (set.some(([i]) => values.values(task)[i] === undefined)) return EPERM;
    for (const [i, value] of set) if (!values.set(task, i, value)) return EPERM;
    if (set.length > 0) this.#changed();
    return OK;
  }

  read(text: string, form: 'hex' | 'binary'): string {
    const range = this.#range(text);
    const task = this.#task() ?? this.#session.tasks()[0];
    if (!range) return EINVAL;
    const bytes = readMemory(this.#session.machine, task, range.addr, Math.min(range.size, MOST_READ));
    if (bytes.length === 0 && range.size > 0) return EFAULT;
    return form === 'hex' ? hexOf(bytes) : `b${escaped(Buffer.from(bytes).toString('latin1'))}`;
  }
  write(text: string, form: 'hex' | 'binary'): string {
    const at = text.indexOf(':');
    const range = this.#range(text.slice(0, at));
    const body = text.slice(at + 1);
    const data = form === 'hex' ? bytesOf(body) : new Uint8Array(Buffer.from(body, 'latin1'));
    if (at < 0 || !range || data?.length !== range.size) return EINVAL;
    const task = this.#task() ?? this.#session.tasks()[0];
    if (data.length === 0) return OK;
    if (this.#isPast()) return EPERM;
    if (!writeMemory(this.#session.machine, task, range.addr, data)) return EFAULT;
    this.#changed();
    return OK;
  }
  #range(text: string): { addr: bigint; size: number } | undefined {
    const [first = '', second = '', ...more] = text.split(',');
    const [addr, size] = [numberOf(first), countOf(second)];
    return addr === undefined || size === undefined || more.length > 0 ? undefined : { addr, size };
  }

  point(text: string, sets: boolean): string {
    return breakOrWatch(this.#session, text, sets);
  }

  /** `Hg`, `Hc`: 0 and -1 mean any, which is the one that executed last. */
  choose(text: string): string {
    const id = /^[gc](-1|[0-9a-f]+)$/i.exec(text)?.[1];
    if (id === undefined) return EINVAL;
    const number = id === '-1' ? 0 : (countOf(id) ?? -1);
    if (number !== 0 && !this.#session.task(number)) return ESRCH;
    if (text.startsWith('g')) this.#thread = number === 0 ? this.#last.thread : number;
    return OK;
  }
  isAlive(id: string): string {
    return this.#session.task(countOf(id) ?? -1) ? OK : ESRCH;
  }
  threadIds(): string {
    const { machine } = this.#session;
    return `m${this.#session
      .tasks()
      .map((task) => threadOf(machine, task).toString(16))
      .join(',')}`;
  }
  threadInfo(id: string): string {
    const task = this.#session.task(countOf(id) ?? -1);
    return task ? hexText(`${task.comm}, ${threadText(this.#session.machine, task)}`) : ESRCH;
  }
  currentThread(): string {
    return `QC${this.#last.thread.toString(16)}`;
  }

  async command(hex: string): Promise<string> {
    const text = textOf(hex);
    if (text === undefined) return EINVAL;
    const output = await this.#monitor.run(text);
    return output === '' ? OK : hexText(output.endsWith('\n') ? output : `${output}\n`);
  }

  /** `vCont;ACTION[:THREAD]...`: the first step names who steps; else all go on. */
  async resume(text: string): Promise<string> {
    for (const action of text.split(';').filter(Boolean)) {
      const [what, id = ''] = action.split(':');
      const thread = id === '' || id === '-1' ? this.#last.thread : countOf(id);
      if (thread === undefined || !this.#session.task(thread)) return ESRCH;
      const kind = what[0]?.toLowerCase();
      if (kind === 's') return this.#stopped(await this.#session.step(thread));
      if (kind === 'r') {
        const [from, to] = what.slice(1).split(',').map(numberOf);
        if (from === undefined || to === undefined) return EINVAL;
        return this.#stopped(await this.#session.stepRange(thread, from, to));
      }
      if (kind === 'c') return this.#stopped(await this.#session.continue());
      if (kind !== 't') return EINVAL;
    }
    return EINVAL;
  }
  async resumeAt(text: string, steps: boolean): Promise<string> {
    // Where it goes on is a register, which the debugger can set.
    if (text !== '') return EINVAL;
    return this.#stopped(await (steps ? this.#session.step(this.#thread) : this.#session.continue()));
  }
  async back(steps: boolean): Promise<string> {
    if (!this.#session.goesBack) return UNSUPPORTED;
    const { changedAt } = this.#session;
    if (changedAt !== undefined)
      this.#say(`klpemu: no way back: since instruction ${changedAt} it is another history\n`);
    return this.#stopped(
      await (steps ? this.#session.reverseStep(this.#thread) : this.#session.reverseContinue()),
    );
  }

  why(): string {
    return this.#reply(this.#last);
  }
  #stopped(stop: Stop): string {
    this.#last = stop;
    this.#thread = stop.thread;
    if (stop.reason.kind === 'end') this.#say(`klpemu: ${this.#session.over}\n`);
    return this.#reply(stop);
  }
  #reply({ thread, reason }: Stop): string {
    const task = this.#session.task(thread);
    const values = task ? this.#values().values(task) : [];
    const registers = this.#port.expedited.flatMap((i) => {
      const value = values[i];
      const number = i.toString(16).padStart(2, '0');
      return value === undefined ? [] : [`${number}:${littleEndian(value, this.#port.registers[i].bytes)};`];
    });
    const cpu = task?.onCpu ? `core:${task.cpu.toString(16)};` : '';
    const signal = reason.kind === 'interrupt' ? '02' : '05';
    return `T${signal}${registers.join('')}thread:${thread.toString(16)};${cpu}${this.#why(reason)}`;
  }
  #why(reason: Stop['reason']): string {
    switch (reason.kind) {
      case 'breakpoint': {
        const kinds = this.#session.points.breakpoints.get(reason.addr);
        if (!this.#knowsKind || !kinds) return '';
        return kinds.has('software') ? 'swbreak:;' : 'hwbreak:;';
      }
      case 'watchpoint': {
        const { access, addr } = reason.point;
        return `${{ write: 'watch', read: 'rwatch', both: 'awatch' }[access]}:${addr.toString(16)};`;
      }
      case 'library':
        return 'library:;';
      case 'begin':
      case 'end':
        return `replaylog:${reason.kind};`;
      default:
        return '';
    }
  }

  leave(how: Farewell): string {
    this.farewell = how;
    return OK;
  }

  /** What has been is not changed, which is said. */
  #isPast(): boolean {
    const { isPast } = this.#session;
    if (isPast) this.#say('klpemu: this is the past of a machine that is up: it cannot be changed\n');
    return isPast;
  }

  #task(): TaskStruct | undefined {
    return this.#session.task(this.#thread);
  }
  #values(): TaskRegisters {
    return new TaskRegisters(this.#session.machine, this.#port);
  }
  #changed(): void {
    if (this.#session.changed() && this.#session.goesBack)
      this.#say(
        `klpemu: from instruction ${this.#session.changedAt} on this is another history: there is no way back\n`,
      );
  }
}

type Answer = (stub: Stub, rest: string) => string | undefined | Promise<string | undefined>;

/** By how they begin. */
const NAMED: readonly (readonly [string, Answer])[] = [
  ['qSupported', (stub, rest) => stub.supported(rest)],
  ['qXfer:', (stub, rest) => stub.document(rest)],
  ['vFile:', (stub, rest) => stub.file(rest)],
  ['vCont?', () => 'vCont;c;C;s;S;t;r'],
  ['vCont;', (stub, rest) => stub.resume(rest)],
  ['vKill', (stub) => stub.leave('killed')],
  ['qfThreadInfo', (stub) => stub.threadIds()],
  ['qsThreadInfo', () => 'l'],
  ['qThreadExtraInfo,', (stub, rest) => stub.threadInfo(rest)],
  ['qRcmd,', (stub, rest) => stub.command(rest)],
  ['qAttached', () => '1'],
  ['qSymbol', () => OK],
  ['QStartNoAckMode', () => OK],
  ['bs', (stub) => stub.back(true)],
  ['bc', (stub) => stub.back(false)],
];

const LETTERS: Readonly<Record<string, Answer>> = {
  '?': (stub) => stub.why(),
  g: (stub) => stub.registers(),
  G: (stub, rest) => stub.setRegisters(rest),
  p: (stub, rest) => stub.register(rest),
  P: (stub, rest) => stub.setRegister(rest),
  m: (stub, rest) => stub.read(rest, 'hex'),
  x: (stub, rest) => stub.read(rest, 'binary'),
  M: (stub, rest) => stub.write(rest, 'hex'),
  X: (stub, rest) => stub.write(rest, 'binary'),
  Z: (stub, rest) => stub.point(rest, true),
  z: (stub, rest) => stub.point(rest, false),
  H: (stub, rest) => stub.choose(rest),
  T: (stub, rest) => stub.isAlive(rest),
  c: (stub, rest) => stub.resumeAt(rest, false),
  s: (stub, rest) => stub.resumeAt(rest, true),
  D: (stub) => stub.leave('detached'),
  k: (stub) => {
    stub.leave('killed');
    return undefined;
  },
};
