// Commands that look into the machine, which no real shell has: stack, disas, why, back.

import type { Addr } from '../../guest/addr.ts';
import { didYouMean } from '../../kernel/nearest.ts';
import type { TaskStruct } from '../../kernel/task_struct.ts';
import type { Machine } from '../../machine/machine.ts';
import { explanationText } from '../../machine/why.ts';
import type { Command } from '../command.ts';
import { parseOptions } from '../options.ts';
import { failed, Output, ok, type Result } from '../result.ts';
import { explainGate, gateText } from '../why_gate.ts';

/** For an address that no function covers. */
const DEFAULT_BYTES = 64;
const BYTE_COLUMN = 3 * 7;

const stack: Command = {
  name: 'stack',
  usage: 'stack PID|NAME...',
  summary: 'stacks of tasks, as /proc/PID/stack; NAME is that of one or more tasks',
  completes: 'tasks',
  run: ({ args, shell }) => {
    if (args.length === 0) return failed('stack: of which task? (PID or NAME)', 2);
    const { machine } = shell.guest;
    const output = new Output();
    for (const arg of args) {
      const tasks = findTasks(machine, arg);
      const names = [...machine.inspect.core.tasks.processes()].map(({ comm }) => comm);
      if (tasks.length === 0) output.error(`stack: ${arg}: No such process${didYouMean(arg, names)}`);
      for (const task of tasks) {
        if (tasks.length + args.length > 2) output.line(`${task.comm}:${task.pid}`);
        for (const line of machine.stack(task)) output.line(line);
      }
    }
    return output.result();
  },
};

function findTasks(machine: Machine, arg: string): TaskStruct[] {
  const { tasks } = machine.inspect.core;
  if (/^\d+$/.test(arg)) {
    const task = tasks.byPid(Number(arg));
    return task ? [task] : [];
  }
  return [...tasks.processes(), ...tasks.idle].filter((task) => task.comm === arg);
}

const disas: Command = {
  name: 'disas',
  usage: 'disas [-i] SYMBOL[+OFFSET]|ADDRESS [BYTES]',
  summary: 'disassemble text of the guest as it is now; -i in Intel syntax',
  completes: 'symbols',
  run: async ({ args, shell }) => {
    const { flags, operands } = parseOptions(args, ['i']);
    const [place, size] = operands;
    if (place === undefined) return failed('disas: of what? (SYMBOL, SYMBOL+OFFSET or an address)', 2);
    const { machine } = shell.guest;
    const addrs = trampolinesNamed(machine, place) ?? [parsePlace(machine, place)];
    if (addrs.length === 0 || addrs[0] === undefined) {
      return failed(`disas: ${place}: no such symbol${didYouMean(nameIn(place), symbolNames(machine))}`);
    }
    const output = new Output();
    for (const [i, addr] of addrs.entries()) {
      if (i > 0) output.line('');
      output.add(await listing(machine, addr as Addr, place, size, flags.has('i') ? 'intel' : 'att'));
    }
    return output.result();
  },
};

/** The symbol that a place names. */
function nameIn(place: string): string {
  return place.replace(/^\w+:/, '').replace(/\+.*$/, '');
}

function symbolNames(machine: Machine): string[] {
  return [...machine.inspect.core.symbols.all()].map(({ name }) => name);
}

async function listing(
  machine: Machine,
  addr: Addr,
  place: string,
  size: string | undefined,
  syntax: 'att' | 'intel',
): Promise<Result> {
  const { symbols, mem, arch } = machine.inspect.core;
  const trampoline = machine.inspect.ftrace.trampolines.at(addr);
  const left = trampoline
    ? Number(trampoline.start + BigInt(trampoline.size) - addr)
    : symbols.bytesLeft(addr);
  const wanted = Number(size ?? left ?? DEFAULT_BYTES);
  if (!Number.isInteger(wanted) || wanted <= 0) return failed(`disas: ${size}: no number of bytes`, 2);
  let bytes = wanted + arch.longestInsn;
  while (bytes > 0 && !mem.isMapped(addr, bytes)) bytes--;
  if (bytes === 0) return failed(`disas: ${place}: no memory is mapped there`);
  const disassemble = await arch.loadDisassembler();
  const symbolize = (target: Addr): string | undefined => {
    const name = nameAt(machine, target);
    return name === undefined ? undefined : `0x${target.toString(16)} <${name}>`;
  };
  const output = new Output();
  output.line(`${addr.toString(16).padStart(16, '0')} <${nameAt(machine, addr) ?? place}>:`);
  for (const insn of disassemble(mem.readBytes(addr, bytes), addr, { symbolize, syntax })) {
    if (insn.addr >= addr + BigInt(wanted)) break;
    const hexBytes = Array.from(insn.bytes, (b) => b.toString(16).padStart(2, '0')).join(' ');
    output.line(`  ${insn.addr.toString(16)}:  ${hexBytes.padEnd(BYTE_COLUMN)} ${insn.text}`);
  }
  return output.result();
}

const TRAMPOLINE = 'ftrace_trampoline';

function nameAt({ inspect: { core, ftrace } }: Machine, addr: Addr): string | undefined {
  if (core.symbols.lookup(addr)) return core.symbols.format(addr);
  return ftrace.trampolines.at(addr) ? TRAMPOLINE : undefined;
}

/** Every trampoline that there is has this name in kallsyms; undefined for another name. */
function trampolinesNamed({ inspect: { ftrace } }: Machine, place: string): Addr[] | undefined {
  if (place !== TRAMPOLINE && place !== `__builtin__ftrace:${TRAMPOLINE}`) return undefined;
  return ftrace.trampolines.list().map(({ start }) => start);
}

function parsePlace(machine: Machine, place: string): Addr | undefined {
  const match = /^(?:(0x[0-9a-f]+|[0-9a-f]{16})|(?:[\w]+:)?([^+]+)(?:\+(0x[0-9a-f]+|\d+))?)$/i.exec(place);
  if (!match) return undefined;
  if (match[1] !== undefined) return BigInt(match[1].startsWith('0x') ? match[1] : `0x${match[1]}`);
  const addr = machine.inspect.core.symbols.lookupName(match[2]);
  return addr === undefined ? undefined : addr + BigInt(match[3] ?? 0);
}

const why: Command = {
  name: 'why',
  usage: 'why [--json]',
  summary:
    'why a transition is not over, or a module does not load: who is in the way, where it stands, what would release it',
  run: ({ args, shell }) => {
    const explanation = shell.guest.machine.why();
    const gate = explainGate(shell.guest.machine);
    const waits = gate.length > 0;
    if (args.includes('--json')) {
      const all = waits ? { ...explanation, gate } : (explanation ?? null);
      return ok(`${JSON.stringify(all)}\n`);
    }
    const text = explanation ? explanationText(explanation) : 'no transition is under way\n';
    return ok(waits ? `${text}\n${gateText(gate)}` : text);
  },
};

const back: Command = {
  name: 'back',
  usage:
    "back [--from TIME|'instruction N'|TEXT] [--json] write ADDRESS[/BYTES] | change TASK.FIELD | change 'FUNCTION->transition' | call FUNCTION | dmesg TEXT",
  summary: 'the last moment at which something was so: who did it, with stack, code and the events before it',
  completes: 'symbols',
  run: async ({ args, shell }) => {
    const { flags, values, operands, unknown } = parseOptions(args, ['json'], ['from']);
    if (unknown) return failed(`back: unrecognized option '${unknown}'`, 2);
    if (operands.length === 0) return failed(`back: to what? (${back.usage})`, 2);
    if (!shell.past) return failed('back: what was done with this machine was not kept', 2);
    const answer = await shell.past.back(operands.join(' '), values.get('from'), flags.has('json'));
    if ('refused' in answer) return failed(`back: ${answer.refused}`, 2);
    return { ...ok(answer.text), status: answer.found ? 0 : 1 };
  },
};

export const LOOK_COMMANDS: readonly Command[] = [stack, disas, why, back];
