// Which features the emulated CPU declares: what decides between alternatives.
// Mirrors arch/x86/include/asm/cpufeatures.h for the features that modules of 6.1 ask for; a feature's number is
// word * 32 + bit.

import type { FeatureSet } from '../../module_text.ts';

/** By kernel name, without the X86_FEATURE_ prefix. */
export const X86_FEATURES: Readonly<Record<string, number>> = {
  CLFLUSH: 0 * 32 + 19,
  XMM: 0 * 32 + 25,
  XMM2: 0 * 32 + 26,
  RDTSCP: 1 * 32 + 27,
  LFENCE_RDTSC: 3 * 32 + 18,
  REP_GOOD: 3 * 32 + 16,
  NOPL: 3 * 32 + 20,
  ALWAYS: 3 * 32 + 21,
  XMM3: 4 * 32 + 0,
  MOVBE: 4 * 32 + 22,
  POPCNT: 4 * 32 + 23,
  HYPERVISOR: 4 * 32 + 31,
  RETPOLINE: 11 * 32 + 12,
  RETPOLINE_LFENCE: 11 * 32 + 13,
  RETHUNK: 11 * 32 + 14,
  VMCALL: 8 * 32 + 18,
  VMW_VMMCALL: 8 * 32 + 19,
  XENPV: 8 * 32 + 16,
  ERMS: 9 * 32 + 9,
  SMAP: 9 * 32 + 20,
  CLFLUSHOPT: 9 * 32 + 23,
  CLWB: 9 * 32 + 24,
  LA57: 16 * 32 + 16,
  FSRM: 18 * 32 + 4,
};

const FLAG_INV = 0x8000;

export class CpuFeatures implements FeatureSet {
  readonly #present: ReadonlySet<number>;

  constructor(features: Iterable<number>) {
    this.#present = new Set(features);
  }

  /** @throws Error for a name that is not in X86_FEATURES. */
  static named(...names: readonly string[]): CpuFeatures {
    return new CpuFeatures(names.map(numberOf));
  }

  has(feature: number): boolean {
    return this.#present.has(feature);
  }

  hasNamed(name: string): boolean {
    return this.has(numberOf(name));
  }

  /** Whether an alternative with this cpuid field is to be patched in: ALTINSTR_FLAG_INV asks for absence. */
  selects(cpuid: number): boolean {
    return this.has(cpuid & ~FLAG_INV) !== ((cpuid & FLAG_INV) !== 0);
  }
}

/**
 * The emulated CPU: the engine's default model, which has neither SMAP nor POPCNT, on a kernel whose Spectre v2
 * mitigation is retpolines and which needs no return thunk, as the reference machine.
 */
export const DEFAULT_CPU_FEATURES = CpuFeatures.named(
  'ALWAYS',
  'NOPL',
  'CLFLUSH',
  'XMM',
  'XMM2',
  'REP_GOOD',
  'LFENCE_RDTSC',
  'HYPERVISOR',
  'RETPOLINE',
);

function numberOf(name: string): number {
  const found = X86_FEATURES[name];
  if (found === undefined) throw new Error(`unknown CPU feature ${name}`);
  return found;
}
