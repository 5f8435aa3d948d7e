// What the real kernel printed, by step, and the form in which its words and the machine's can be compared.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';

export const MODULES = join(import.meta.dirname, '../../fixtures/modules');

export interface Step {
  /** The kernel log, without times. */
  readonly log: readonly string[];
  /** The exit status that the shell saw. */
  readonly rc: number | undefined;
  /** Everything else: what the commands printed. */
  readonly output: readonly string[];
  /** The step as it stands there. */
  readonly whole: string;
}

/** Steps of fixtures/modules/observed*.txt, by the name behind `####`. */
export function readObserved(file: string): Map<string, Step> {
  const steps = new Map<string, Step>();
  for (const part of readFileSync(join(MODULES, file), 'utf8')
    .split(/^#### /m)
    .slice(1)) {
    const [name, ...lines] = part.trimEnd().split('\n');
    const rc = lines.find((line) => /^rc \d+$/.test(line));
    steps.set(name, {
      log: lines.filter(isLog).map(withoutTime),
      rc: rc === undefined ? undefined : Number(rc.slice(3)),
      output: lines.filter((line) => !isLog(line) && line !== rc),
      whole: lines.join('\n'),
    });
  }
  return steps;
}

const isLog = (line: string): boolean => /^\[ *\d+\.\d{6}\] /.test(line);

export function withoutTime(line: string): string {
  return line.replace(/^\[ *\d+\.\d{6}\] /, '');
}

interface Difference {
  readonly why: string;
  readonly from: RegExp;
  readonly to: string;
}

/** What may differ between the two, each with its reason. */
export const ACCEPTED: readonly Difference[] = [
  { why: 'the machine is another', from: /^Hardware name: .*/, to: 'Hardware name: *' },
  { why: 'the engine has no page tables', from: /^PGD .*/, to: 'PGD *' },
  {
    why: 'tasks are numbered by what ran before',
    from: /^(CPU:|WARNING: CPU:) \d+ PID: \d+/,
    to: '$1 * PID: *',
  },
  { why: 'tasks are numbered by what ran before', from: /\b(\w+)([[:])\d+(?=\]| blocked)/, to: '$1$2*' },
  { why: 'tasks are numbered by what ran before', from: /pid:\d+ +ppid:\d+ +flags:.*/, to: 'pid:*' },
  { why: 'which CPU it is', from: /on CPU \d+ \(core \d+/, to: 'on CPU * (core *' },
  { why: 'which CPU it is', from: /CPU#\d+/, to: 'CPU#*' },
  { why: 'echo does what a shell did', from: /(Comm:|note:) (sh|echo)(?= |\[)/, to: '$1 sh' },
  { why: 'the timer interrupted another task', from: /Comm: (init|swapper\/\d) /, to: 'Comm: * ' },
  { why: 'registers that other code left', from: /\b(R[A-Z0-9]{2}|CR3|CR4): [0-9a-f]{16}/g, to: '$1: *' },
  { why: 'registers that other code left', from: /^(RSP: 00..:)\S+ EFLAGS: \S+/, to: '$1* EFLAGS: *' },
  { why: 'an earlier page fault of a user program', from: /^CR2: 0{10}\S{6} CR3/, to: 'CR2: * CR3' },
  { why: 'where the stack of the task is', from: /^CR2: ffffc90\S+ CR3/, to: 'CR2: * CR3' },
  { why: 'no thread-local storage; where per-CPU areas lie', from: /^FS: .*/, to: 'FS: *' },
  { why: 'the compiler put aside what is cold', from: /^ (\w+)\.cold\+/, to: ' $1+' },
  { why: 'the kernel hashes addresses', from: /kobject: \(\S+\):/, to: 'kobject: (*):' },
  {
    why: 'the kernel itself is other code',
    from: /^( |RIP: 0010:)(\w+)\+0x[0-9a-f]+\/0x[0-9a-f]+$/,
    to: '$1$2',
  },
  { why: 'user programs are others', from: /^RIP: 0033:.*/, to: 'RIP: 0033:*' },
  { why: 'the RCU stall detector was first', from: /stuck for \d+s!/, to: 'stuck for *s!' },
  { why: 'the kernel hashes addresses', from: /(guard page was hit at) .*/, to: '$1 *' },
  { why: 'the kernel computes the size of the last symbol wrong', from: /\/0xf{12}\S+ /, to: '/0x40 ' },
];

/** Lines that only one of the two has. */
export const ONLY_ONE: readonly { readonly why: string; readonly line: RegExp }[] = [
  { why: 'stale words of the stack', line: /^ \? / },
  { why: 'interrupts run on the task stack in the image', line: /^ <\/?(IRQ|TASK)>$/ },
  { why: 'the real machine reboots after a panic', line: /^---\[ end Kernel panic/ },
];

export interface CompareOptions {
  /** Whose frames are compared: all, or those of modules where the kernel's own are not the same functions. */
  readonly frames?: 'all' | 'modules';
}

export function comparable(lines: readonly string[], options: CompareOptions = {}): string[] {
  const accepted = lines
    .filter((line) => !ONLY_ONE.some((only) => only.line.test(line)))
    .map((line, i, kept) => {
      if (line.startsWith('Code:') && /^RIP: 0033/.test(kept[i - 1])) return 'Code: * of a user program';
      return ACCEPTED.reduce((text, { from, to }) => text.replace(from, to), line);
    });
  const own = options.frames === 'modules' ? modulesOnly(accepted) : accepted;
  // How often a function that calls itself fits on a stack depends on what is above it.
  return own.filter((line, i) => !line.startsWith(' ') || line !== own[i - 1]);
}

/** Of a trace, what is of a module; registers in between belong to kernel frames. */
function modulesOnly(lines: readonly string[]): string[] {
  let inTrace = false;
  return lines.filter((line) => {
    if (/^(Modules linked in|---|$)/.test(line)) inTrace = false;
    const kept = !inTrace || /^ .*\]$/.test(line);
    if (line === 'Call Trace:') inTrace = true;
    return kept;
  });
}

/** Where two lines of code bytes differ in nothing but the targets of calls of the kernel, ours is taken. */
export function alignCode(ours: readonly string[], real: readonly string[]): string[] {
  return real.map((line, i) => {
    const own = ours[i];
    if (!line.startsWith('Code: ') || own?.length !== line.length) return line;
    const [a, b] = [own.split(' '), line.split(' ')];
    const runs = a
      .map((byte, k) => (byte === b[k] ? '.' : 'x'))
      .join('')
      .split(/\.+/);
    return runs.every((run) => run.length <= 4) ? own : line;
  });
}
