// The registers of a task: of the CPU that executes it, or what its stack holds of them.

import type { DebugPort, RegisterValues } from '../arch/debug.ts';
import type { TaskStruct } from '../kernel/task_struct.ts';
import type { Machine } from '../machine/machine.ts';
import { littleEndian } from './hex.ts';
import { cpuOf } from './threads.ts';

export class TaskRegisters {
  readonly #machine: Machine;
  readonly #port: DebugPort;

  constructor(machine: Machine, port: DebugPort) {
    this.#machine = machine;
    this.#port = port;
  }

  values(task: TaskStruct): RegisterValues {
    const cpu = cpuOf(this.#machine, task);
    if (cpu) return this.#port.ofContext(cpu.context);
    const gone = task.stackSlot < 0;
    return gone ? [] : this.#port.ofInactive(this.#machine.inspect.core.mem, task.sp);
  }

  pc(task: TaskStruct): bigint | undefined {
    return this.values(task)[this.#port.pc];
  }

  /** A `g` packet's: what is not known is x. */
  all(task: TaskStruct): string {
    const values = this.values(task);
    return this.#port.registers.map(({ bytes }, i) => textOf(values[i], bytes)).join('');
  }

  /** undefined: there is no such register. */
  one(task: TaskStruct, register: number): string | undefined {
    const known = this.#port.registers[register];
    return known && textOf(this.values(task)[register], known.bytes);
  }

  /** @returns false for one that cannot be set: a task that does not run has none but on its stack */
  set(task: TaskStruct, register: number, value: bigint): boolean {
    const cpu = cpuOf(this.#machine, task);
    return cpu !== undefined && this.#port.setInContext(cpu.context, register, value);
  }
}

const textOf = (value: bigint | undefined, bytes: number): string =>
  value === undefined ? 'xx'.repeat(bytes) : littleEndian(value, bytes);
