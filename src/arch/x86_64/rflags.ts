// Bits of RFLAGS that decide how a CPU goes on, by the manual's names (Intel SDM vol. 1, 3.4.3). Those of arithmetic are
// the engine's own affair.

export const RFLAGS = {
  /** Bit 1, which is always set and has no name. */
  FIXED: 1n << 1n,
  TF: 1n << 8n,
  IF: 1n << 9n,
  DF: 1n << 10n,
  NT: 1n << 14n,
  RF: 1n << 16n,
  AC: 1n << 18n,
} as const;
