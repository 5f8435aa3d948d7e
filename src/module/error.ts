// Why a module is not loaded: the errno that the system call returns, and the words behind it.

import { ElfError } from '../elf/error.ts';
import { GuestMemoryError } from '../guest/memory.ts';
import type { KernelCore } from '../kernel/core.ts';
import { errnoName } from '../kernel/errno.ts';
import type { FaultPoint } from '../kernel/fault_inject.ts';
import { SlabError } from '../kernel/slab.ts';
import { UAPI } from '../kernel/uapi.ts';

export type Errno = Extract<keyof typeof UAPI, `E${Uppercase<string>}`>;

export function errnoOf(code: Errno): number {
  return UAPI[code];
}

export class ModuleError extends Error {
  readonly code: string;
  /** Positive; negative where a callback of the load returned a positive number, which is what the caller gets. */
  readonly errno: number;

  constructor(code: Errno | number, reason: string) {
    super(reason);
    this.name = 'ModuleError';
    this.errno = typeof code === 'number' ? code : errnoOf(code);
    this.code = errnoName(this.errno) ?? `errno ${this.errno}`;
  }
}

/** Where a step of a load can be made to fail. @throws ModuleError when it is to fail now. */
export function injected(core: KernelCore, point: FaultPoint, what: string): void {
  const failed = core.faults.check(point, what);
  if (failed !== 0) throw new ModuleError(-failed, `${point} of ${what}: a fault`);
}

/**
 * Faults of the module and a lack of memory end a load; anything else is a fault of ours. A table of the module that
 * points out of it would be an oops in the kernel; here it is one more bad module.
 */
export function asModuleError(error: unknown): ModuleError {
  if (error instanceof ModuleError) return error;
  if (error instanceof ElfError) return new ModuleError('ENOEXEC', error.message);
  if (error instanceof GuestMemoryError) return new ModuleError('ENOEXEC', `bad pointer: ${error.message}`);
  if (error instanceof SlabError && error.code === 'ENOMEM') return new ModuleError('ENOMEM', error.message);
  throw error;
}
