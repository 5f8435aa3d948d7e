// The processor that the core is, as `cpuid` describes it. Intel SDM volume 2, CPUID.
//
// Invariant: a feature is told of here only if the core has its instructions.

/** EAX, EBX, ECX, EDX of a leaf. */
type Leaf = readonly [eax: number, ebx: number, ecx: number, edx: number];

const bits = (...numbers: number[]): number => numbers.reduce((word, n) => word | (1 << n), 0) >>> 0;
const word = (text: string): number => new DataView(new TextEncoder().encode(text).buffer).getUint32(0, true);

/** A text in 12 bytes of EBX, EDX, ECX, as leaf 0 has it. */
const VENDOR = 'GenuineIntel';
const BRAND = 'klpemu x86-64 core'.padEnd(48, '\0');

const brand = (part: number): Leaf => {
  const at = 16 * part;
  const words = [0, 4, 8, 12].map((k) => word(BRAND.slice(at + k, at + k + 4)));
  return [words[0], words[1], words[2], words[3]];
};

const LEAVES: Readonly<Record<number, Leaf>> = {
  0: [7, word(VENDOR.slice(0, 4)), word(VENDOR.slice(8)), word(VENDOR.slice(4, 8))],
  // family 6, model 60; one logical processor, lines of 64 bytes
  1: [
    0x000306c3,
    8 << 8,
    // sse3 ssse3 cx16 sse4.1 sse4.2 movbe popcnt, hypervisor
    bits(0, 9, 13, 19, 20, 22, 23, 31),
    // tsc msr pae cx8 sep pge cmov pat clflush fxsr sse sse2
    bits(4, 5, 6, 8, 11, 13, 15, 16, 19, 24, 25, 26),
  ],
  // bmi1 bmi2 erms
  7: [0, bits(3, 8, 9), 0, 0],
  2147483648: [0x80000008, 0, 0, 0],
  // lahf lzcnt; syscall nx rdtscp lm
  2147483649: [0, 0, bits(0, 5), bits(11, 20, 27, 29)],
  2147483650: brand(0),
  2147483651: brand(1),
  2147483652: brand(2),
  // 46 bits of physical, 48 of virtual addresses
  2147483656: [46 | (48 << 8), 0, 0, 0],
};

/** smep smap, in EBX of leaf 7 */
const PROTECTION = bits(7, 20);

/**
 * What `cpuid` gives for EAX and ECX; a leaf that is not there is that of the highest basic one, all zeros here.
 * @param isApart the core keeps kernel and users apart
 */
export function cpuid(eax: number, ecx: number, isApart: boolean): Leaf {
  if (eax === 7 && ecx !== 0) return [0, 0, 0, 0];
  if (eax === 7 && isApart) return [LEAVES[7][0], LEAVES[7][1] | PROTECTION, 0, 0];
  return LEAVES[eax] ?? [0, 0, 0, 0];
}
