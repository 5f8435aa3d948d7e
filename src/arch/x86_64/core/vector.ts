// Vector instructions. Intel SDM volume 2.

/** @returns false after a fault */
export function vector(op: u32): bool {
  unreachable();
  return false;
}
