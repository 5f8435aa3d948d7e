// What the kernel sets in control registers. Mirrors arch/x86/include/uapi/asm/processor-flags.h.

const [SMEP, SMAP] = [1 << 20, 1 << 21];
/** PSE PAE MCE PGE OSFXSR OSXMMEXCPT, as the kernel sets them on the CPU that it was observed on. */
const PLAIN = 0x6f0;
const OSXSAVE = 1 << 18;

/** CR4, without and with what keeps kernel and users apart. */
export const CR4 = {
  PLAIN,
  PROTECTED: PLAIN | SMEP | SMAP,
  /** Its kernel saves no state of AVX: instructions that need it are undefined. */
  HAS_XSAVE: (PLAIN & OSXSAVE) !== 0,
} as const;
