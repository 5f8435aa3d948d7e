// Guest memory as a debugger reads and writes it: by the addresses of one task, without any protection, up to the first page
// that is not there.

import { PAGE_SIZE, PROT_EXEC } from '../guest/memory.ts';
import type { TaskStruct } from '../kernel/task_struct.ts';
import type { Machine } from '../machine/machine.ts';

const PAGE = BigInt(PAGE_SIZE);
const TOP = 1n << 64n;

/** Does something with the memory that a task sees. */
function asTask<T>(machine: Machine, task: TaskStruct, work: () => T): T {
  const { core, fork } = machine.inspect;
  const space = fork.spaceOf(task);
  return space === 0 ? work() : core.mem.inSpace(space, work);
}

/** @returns what is there from the address on; nothing where no page is */
export function readMemory(machine: Machine, task: TaskStruct, addr: bigint, size: number): Uint8Array {
  const { mem } = machine.inspect.core;
  return asTask(machine, task, () => {
    const parts: Uint8Array[] = [];
    for (const { at, bytes } of pages(addr, size)) {
      if (!mem.isMapped(at, bytes)) break;
      parts.push(mem.readBytes(at, bytes));
    }
    return new Uint8Array(Buffer.concat(parts));
  });
}

/** @returns false, and nothing is written, where not all of it is there */
export function writeMemory(machine: Machine, task: TaskStruct, addr: bigint, data: Uint8Array): boolean {
  const { mem } = machine.inspect.core;
  return asTask(machine, task, () => {
    const parts = [...pages(addr, data.length)];
    if (parts.length === 0 || !parts.every(({ at, bytes }) => mem.isMapped(at, bytes)))
      return data.length === 0;
    for (const { at, bytes, from } of parts) {
      const part = data.subarray(from, from + bytes);
      const protection = mem.protectionOf(at) ?? 0;
      if ((protection & PROT_EXEC) !== 0) mem.pokeText(at, part);
      else mem.view(at, bytes).set(part);
    }
    return true;
  });
}

/** A range, cut where pages end. */
function* pages(addr: bigint, size: number): IterableIterator<{ at: bigint; bytes: number; from: number }> {
  for (let from = 0; from < size; ) {
    const at = addr + BigInt(from);
    if (at >= TOP) return;
    const bytes = Math.min(size - from, Number(PAGE - (at % PAGE)));
    yield { at, bytes, from };
    from += bytes;
  }
}
