// What a machine can be made with, and what it is made with where nothing is said.

import { MODULE_AREA } from '../module/module_alloc.ts';
import { TICK_NS } from '../sched/timer.ts';
import type { UnwinderKind } from '../unwind/stacktrace.ts';
import type { ImageFlavour } from './image.ts';

export interface MachineOptions {
  /** 1 to 64. */
  readonly cpus?: number;
  readonly seed?: number;
  readonly unwinder?: 'orc' | 'frame pointer' | 'none';
  /** Bytes of kernel heap. */
  readonly heap?: number;
  /** Bytes that modules and trampolines can take. */
  readonly moduleArea?: number;
  /** How many tasks there can be at once. */
  readonly maxTasks?: number;
  /** Keeps the shadow stack, and holds every reliable trace and every completed transition against it. */
  readonly shadow?: boolean;
  /** Virtual ns that an instruction takes. */
  readonly instructionNs?: number;
  /** Dynamic debug of kernel/livepatch: its pr_debug() lines. */
  readonly debug?: boolean;
  /** /proc/cmdline */
  readonly cmdline?: string;
  /** How livepatches meet modules that come and go: as the kernel has it, or by bundles (docs/bundle.md). */
  readonly model?: 'classic' | 'bundle';
}

export const DEFAULTS = {
  cpus: 2,
  seed: 1,
  unwinder: 'orc',
  heap: 64 << 20,
  moduleArea: MODULE_AREA,
  maxTasks: 512,
  shadow: true,
  // 10,000 instructions a tick: seconds of virtual time are cheap to pass.
  instructionNs: TICK_NS / 10_000,
  debug: false,
  model: 'classic',
  cmdline: 'BOOT_IMAGE=klpemu root=/dev/ram0 quiet',
} as const satisfies Required<MachineOptions>;

export const UNWINDERS: Record<NonNullable<MachineOptions['unwinder']>, UnwinderKind> = {
  orc: 'orc',
  'frame pointer': 'frame-pointer',
  none: 'none',
};
export const IMAGES: Record<NonNullable<MachineOptions['unwinder']>, ImageFlavour> = {
  orc: 'orc',
  'frame pointer': 'frame pointer',
  none: 'orc',
};
