// When text was written, while a machine executes from its boot on: so that who wrote a byte is known without executing all
// of it again. Text has one writer, GuestMemory.pokeText(), and tells of each time.

import { isKernelAddress, lo32 } from '../guest/addr.ts';
import type { Machine } from '../machine/machine.ts';
import type { WatchPoint } from './points.ts';

interface TextWrite {
  readonly addr: bigint;
  readonly size: number;
  /** Instructions executed then: behind the one that called the writer. */
  readonly position: number;
  /** Whose that was: 0 is the idle task of that CPU. */
  readonly pid: number;
  readonly cpu: number;
}

export class TextWrites {
  readonly #machine: Machine;
  readonly #writes: TextWrite[] = [];

  constructor(machine: Machine) {
    this.#machine = machine;
    const { core, executor, smp } = machine.inspect;
    core.mem.attach({
      unmap() {},
      invalidate: (addr, size) => {
        const cpu = smp.current?.id ?? 0;
        const { pid } = core.current(cpu);
        this.#writes.push({ addr, size, position: executor.instructions, pid, cpu });
      },
    });
  }

  /** Whether all that a watchpoint can see are writes of text: the image's, which is text from the first moment on. */
  covers({ addr, size, access }: WatchPoint): boolean {
    const { lookup } = this.#machine.inspect.traces;
    return (
      access === 'write' &&
      [addr, addr + BigInt(size - 1)].every(
        (at) => lookup.nameAt(lo32(at)) === 'vmlinux' && isKernelAddress(at),
      )
    );
  }

  /** The last that one of them sees, and whose instruction stands before a moment. */
  last(points: readonly WatchPoint[], before: number): { write: TextWrite; point: WatchPoint } | undefined {
    for (const write of this.#writes.toReversed()) {
      if (write.position - 1 >= before) continue;
      const point = points.find(
        ({ addr, size }) => write.addr < addr + BigInt(size) && addr < write.addr + BigInt(write.size),
      );
      if (point) return { write, point };
    }
    return undefined;
  }
}
