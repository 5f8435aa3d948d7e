// The kinds of types in BTF and how long each is.
// Mirrors include/uapi/linux/btf.h.

export const KIND = {
  void: 0,
  int: 1,
  ptr: 2,
  array: 3,
  struct: 4,
  union: 5,
  enum: 6,
  fwd: 7,
  typedef: 8,
  volatile: 9,
  const: 10,
  restrict: 11,
  func: 12,
  funcProto: 13,
  var: 14,
  datasec: 15,
  float: 16,
  declTag: 17,
  typeTag: 18,
  enum64: 19,
} as const;

/** Bytes behind a type's own twelve: so many, and so many for each of its parts. */
export const EXTRA: ReadonlyMap<number, readonly [fixed: number, each: number]> = new Map([
  [KIND.int, [4, 0]],
  [KIND.ptr, [0, 0]],
  [KIND.array, [12, 0]],
  [KIND.struct, [0, 12]],
  [KIND.union, [0, 12]],
  [KIND.enum, [0, 8]],
  [KIND.fwd, [0, 0]],
  [KIND.typedef, [0, 0]],
  [KIND.volatile, [0, 0]],
  [KIND.const, [0, 0]],
  [KIND.restrict, [0, 0]],
  [KIND.func, [0, 0]],
  [KIND.funcProto, [0, 8]],
  [KIND.var, [4, 0]],
  [KIND.datasec, [0, 12]],
  [KIND.float, [0, 0]],
  [KIND.declTag, [4, 0]],
  [KIND.typeTag, [0, 0]],
  [KIND.enum64, [0, 12]],
]);

/** Those that only say more about the type that they name. */
export const MODIFIERS: ReadonlyMap<number, string> = new Map([
  [KIND.volatile, 'volatile'],
  [KIND.const, 'const'],
  [KIND.restrict, 'restrict'],
  [KIND.typeTag, ''],
]);
