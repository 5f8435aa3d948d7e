// The documents that a debugger reads in pieces (qXfer): what the target is, its threads, memory, program and libraries.

import { fromHalves, hex } from '../guest/addr.ts';
import { countOf } from './hex.ts';
import { escaped } from './packet.ts';
import type { Session } from './session.ts';
import { IMAGE_FILE, libraries, SymbolFiles } from './symbol_files.ts';
import { cpuOf, threadOf, threadText } from './threads.ts';

/** By object, each of an annex. */
const OBJECTS: Readonly<Record<string, (session: Session, annex: string) => string | undefined>> = {
  features: ({ machine }, annex) =>
    annex === 'target.xml' ? machine.inspect.core.arch.debug?.description : undefined,
  threads: (session, annex) => (annex === '' ? threadList(session) : undefined),
  'memory-map': (session, annex) => (annex === '' ? memoryMap(session) : undefined),
  'exec-file': () => IMAGE_FILE,
  libraries: (session, annex) => (annex === '' ? libraryList(session) : undefined),
};

export const OBJECT_NAMES = Object.keys(OBJECTS);

/** As much as fits in a packet, whatever is escaped. */
const MOST_READ = 0x7000;

/** A document is made when its beginning is read, and stays as it is to its end. */
export class Documents {
  readonly #session: Session;
  readonly #made = new Map<string, string>();

  constructor(session: Session) {
    this.#session = session;
  }

  /** @param request behind `qXfer:`: OBJECT:read:ANNEX:OFFSET,LENGTH @returns undefined: there is no such object */
  answer(request: string): string | undefined {
    const [object, operation, ...rest] = request.split(':');
    if (!Object.hasOwn(OBJECTS, object) || operation !== 'read') return undefined;
    const [offset = '', length = ''] = (rest.pop() ?? '').split(',');
    const annex = rest.join(':');
    const [from, size] = [countOf(offset), countOf(length)];
    if (from === undefined || size === undefined) return EINVAL;
    const key = `${object}:${annex}`;
    if (from === 0) {
      const text = OBJECTS[object](this.#session, annex);
      if (text === undefined) return NO_ANNEX;
      this.#made.set(key, Buffer.from(text, 'utf8').toString('latin1'));
    }
    const text = this.#made.get(key);
    if (text === undefined) return NO_ANNEX;
    const part = text.slice(from, from + Math.min(size, MOST_READ));
    return `${from + part.length < text.length ? 'm' : 'l'}${escaped(part)}`;
  }
}

const [EINVAL, NO_ANNEX] = ['E16', 'E00'];

const quoted = (text: string): string =>
  text.replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`).replace(/[^ -~]/g, '?');

function threadList(session: Session): string {
  const { machine } = session;
  const lines = session.tasks().map((task) => {
    const cpu = cpuOf(machine, task);
    const core = cpu ? ` core="${cpu.id}"` : '';
    const id = threadOf(machine, task).toString(16);
    return `  <thread id="${id}"${core} name="${quoted(task.comm)}">${quoted(threadText(machine, task))}</thread>`;
  });
  return `<?xml version="1.0"?>\n<threads>\n${lines.join('\n')}\n</threads>\n`;
}

function memoryMap({ machine }: Session): string {
  const lines = machine.inspect.core.mem
    .windows()
    .map(({ hi, lo, span }) => ({ start: fromHalves(hi, lo), span }))
    .sort((a, b) => (a.start < b.start ? -1 : 1))
    .map(({ start, span }) => `  <memory type="ram" start="${hex(start)}" length="0x${span.toString(16)}"/>`);
  return `<?xml version="1.0"?>\n<memory-map>\n${lines.join('\n')}\n</memory-map>\n`;
}

function libraryList(session: Session): string {
  const { machine } = session;
  const port = machine.inspect.core.arch.debug;
  if (!port) return '<library-list/>';
  const files = new SymbolFiles(machine, port);
  session.toldLibraries();
  const lines = libraries(machine).map((library) => {
    const segments = files.segments(library).map((addr) => `<segment address="${hex(addr)}"/>`);
    return `  <library name="${quoted(library.file)}">${segments.join('')}</library>`;
  });
  return `<library-list>\n${lines.join('\n')}\n</library-list>\n`;
}
