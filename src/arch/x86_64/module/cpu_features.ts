// Which features the emulated CPU declares: what decides between alternatives.
// Mirrors arch/x86/include/asm/cpufeatures.h for the features that modules of 6.1 ask for.
//
// Invariant: a feature is known by its name; its number is the kernel's, and comes from the description.

import type { KernelNumbers } from '../../kernel_side.ts';
import type { FeatureSet } from '../../module_text.ts';

/** By kernel name, without the X86_FEATURE_ prefix. */
const X86_FEATURES = [
  'CLFLUSH',
  'XMM',
  'XMM2',
  'RDTSCP',
  'LFENCE_RDTSC',
  'REP_GOOD',
  'NOPL',
  'ALWAYS',
  'XMM3',
  'MOVBE',
  'POPCNT',
  'HYPERVISOR',
  'RETPOLINE',
  'RETPOLINE_LFENCE',
  'RETHUNK',
  'VMCALL',
  'VMW_VMMCALL',
  'XENPV',
  'ERMS',
  'SMAP',
  'CLFLUSHOPT',
  'CLWB',
  'LA57',
  'FSRM',
] as const;
type FeatureName = (typeof X86_FEATURES)[number];

/** @throws Error for a name that is not in X86_FEATURES */
function known(name: string): FeatureName {
  const found = X86_FEATURES.find((one) => one === name);
  if (found === undefined) throw new Error(`unknown CPU feature ${name}`);
  return found;
}

export class CpuFeatures implements FeatureSet {
  readonly #present: ReadonlySet<FeatureName>;

  /** @throws Error for a name that is not in X86_FEATURES */
  constructor(...names: readonly string[]) {
    this.#present = new Set(names.map(known));
  }

  hasNamed(name: string): boolean {
    return this.#present.has(known(name));
  }

  selector({ constants }: KernelNumbers): (asked: number) => boolean {
    const present = new Set([...this.#present].map((name) => Number(constants[`X86_FEATURE_${name}`])));
    return (asked) => present.has(asked);
  }
}

/**
 * The emulated CPU: the engine's default model, which has neither SMAP nor POPCNT, on a kernel whose Spectre v2
 * mitigation is retpolines and which needs no return thunk, as the reference machine.
 */
const DEFAULT = [
  'ALWAYS',
  'NOPL',
  'CLFLUSH',
  'XMM',
  'XMM2',
  'REP_GOOD',
  'LFENCE_RDTSC',
  'HYPERVISOR',
  'RETPOLINE',
];
export const DEFAULT_CPU_FEATURES = new CpuFeatures(...DEFAULT);
/** The same with SMEP, which no alternative asks for, and SMAP. */
export const PROTECTING_CPU_FEATURES = new CpuFeatures(...DEFAULT, 'SMAP');
