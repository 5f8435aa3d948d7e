// What a machine can be made with.

import type { EngineName } from '../arch/engine.ts';
import type { UnwinderKind } from '../arch/x86_64/unwind/unwinders.ts';
import type { ImageFlavour } from './boot/image.ts';
import { checkedOptions } from './option_table.ts';

export type PatchModelName = 'classic' | 'bundle' | 'per-object modules';

export interface MachineOptions {
  /** Ranges and defaults of all of them: option_table.ts. */
  readonly cpus?: number;
  readonly seed?: number;
  readonly unwinder?: UnwinderKind;
  /** What executes it: the core of our own, or Unicorn. */
  readonly engine?: EngineName;
  /** Bytes of kernel heap. */
  readonly heap?: number;
  /** Bytes that modules and trampolines can take. */
  readonly moduleArea?: number;
  /** How many tasks there can be at once. */
  readonly maxTasks?: number;
  /** Keeps the shadow stack, and holds every reliable trace and every completed transition against it. */
  readonly shadow?: boolean;
  /** Keeps kernel and users from each other's memory, and gives each process its address space, where the engine can. */
  readonly protection?: boolean;
  /** Virtual ns that an instruction takes. */
  readonly instructionNs?: number;
  /** A kernel's file, vmlinuz or vmlinux, that is put under the machine (docs/your-kernel.md); '' for the built-in one. */
  readonly kernel?: string;
  /** Dynamic debug of kernel/livepatch: its pr_debug() lines. */
  readonly debug?: boolean;
  /** /proc/cmdline */
  readonly cmdline?: string;
  /** What is done to the order of events (schedule.ts), as a text; '' for nothing. */
  readonly schedule?: string;
  /**
   * How livepatches meet modules that come and go: as the kernel has it, by bundles (docs/bundle.md), or by modules that
   * a helper loads (docs/submodules.md).
   */
  readonly model?: PatchModelName;
}

/** Every option, those that are given and the defaults. @throws MachineOptionError */
export function completeOptions(options: MachineOptions): Required<MachineOptions> {
  return checkedOptions({ ...options }) as unknown as Required<MachineOptions>;
}

/** Which image a machine boots. */
export const IMAGES: Record<UnwinderKind, ImageFlavour> = {
  orc: 'orc',
  'frame pointer': 'frame pointer',
  none: 'orc',
};
