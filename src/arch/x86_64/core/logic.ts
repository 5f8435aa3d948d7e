// AND, OR, XOR, NOT, TEST. Intel SDM volume 2.

import { setLogic } from './flags';
import { a, b, get, set } from './state';

/** AND: a <- a & b */
// @ts-expect-error: decorator
@inline export function and<T>(op: u32): void {
  const result = <T>(get<T>(a(op)) & get<T>(b(op)));
  setLogic<T>(result);
  set<T>(a(op), result);
}

/** OR: a <- a | b */
// @ts-expect-error: decorator
@inline export function or<T>(op: u32): void {
  const result = <T>(get<T>(a(op)) | get<T>(b(op)));
  setLogic<T>(result);
  set<T>(a(op), result);
}

/** XOR: a <- a ^ b */
// @ts-expect-error: decorator
@inline export function xor<T>(op: u32): void {
  const result = <T>(get<T>(a(op)) ^ get<T>(b(op)));
  setLogic<T>(result);
  set<T>(a(op), result);
}

/** NOT: a <- ~a; no flag changes */
// @ts-expect-error: decorator
@inline export function not<T>(op: u32): void {
  set<T>(a(op), <T>~get<T>(a(op)));
}

/** TEST: flags of a & b */
// @ts-expect-error: decorator
@inline export function test<T>(op: u32): void {
  setLogic<T>(<T>(get<T>(a(op)) & get<T>(b(op))));
}
