// The call graph of what runs on a machine with a real kernel under it: the kernel's functions, and the machine's own in the place
// of those that it stands for. And chains of functions drawn from it, which end in a sleep.

import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { readCalls } from '../../src/callgraph/calls.ts';
import { CallGraph } from '../../src/callgraph/graph.ts';
import { lo32 } from '../../src/guest/addr.ts';
import type { SeededRandom } from '../../src/kernel/random.ts';
import { loadRealImage } from '../../src/machine/boot/image.ts';
import { openKernel } from '../../src/machine/native/cache.ts';
import { kernelCode, partOf } from '../../src/vet/kernel_code.ts';

export interface MachineGraph {
  readonly graph: CallGraph;
  /** Of a function that may stand on a stack: it is in the kernel when that has booted, runs, and is no entry code. */
  readonly isFit: (func: number) => boolean;
}

/** What makes its frames itself, and is not called. */
const ENTRY = /^(?:asm_|entry_|ret_from_fork|do_syscall_64|(?:__)?do_(?:fast_syscall|int80))/;

export async function machineGraph(kernel: string): Promise<MachineGraph> {
  const code = await kernelCode(kernel, X86_64);
  const { asm, real } = await loadRealImage(openKernel(kernel, X86_64), X86_64, 'orc');
  const text = asm.sections.find(({ name }) => name === '.text');
  const own = asm.symbols
    .filter(({ section, type }) => section === '.text' && (type === 'func' || type === 'code'))
    .map(({ name, addr }) => ({ name, start: lo32(addr) }))
    .sort((a, b) => a.start - b.start);
  const starts = [...new Set(own.map(({ start }) => start))];
  const run = { start: lo32(text?.addr ?? 0n), bytes: text?.bytes ?? new Uint8Array() };
  const part = partOf(undefined, readCalls(X86_64.code, [run], starts), own);
  const entries = new Map(own.map(({ name, start }) => [name, start]));
  const aliases = new Map<number, number>();
  for (const [name, entry] of real?.hosting.jumps ?? []) {
    const start = entries.get(name);
    if (start !== undefined) aliases.set(lo32(entry), start);
  }
  const graph = new CallGraph([code.part, part], aliases);
  const isFit = (func: number): boolean => {
    const start = graph.start(func);
    if (code.isInit(start) || aliases.has(start) || graph.owner(func) !== func) return false;
    return !ENTRY.test(graph.name(func));
  };
  return { graph, isFit };
}

/**
 * A walk from a sleep to who calls it, and so on: as many functions as were drawn, or as there are callers for.
 * @param isFit what may stand on a stack
 */
export function drawChain(
  graph: CallGraph,
  sleep: number,
  random: SeededRandom,
  length: number,
  isFit: (func: number) => boolean,
): number[] {
  const chain = [sleep];
  while (chain.length < length) {
    const callers = graph.callers(chain[0]).filter((func) => isFit(func) && !chain.includes(func));
    if (callers.length === 0) break;
    chain.unshift(callers[random.below(callers.length)]);
  }
  return chain;
}
