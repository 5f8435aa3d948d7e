// Vector instructions, and rare ones of general registers: which family an operation is of. Intel SDM volume 2.
//
// What a family does a lane at a time is a function of two lanes; here is the walk over the lanes, said once.

import { bmi } from './bmi';
import { crypto } from './crypto';
import { STOP_UNDEFINED } from './kinds';
import { STOP } from './layout';
import { a, b, c, imm } from './state';
import { floats } from './vector_float';
import { integer } from './vector_integer';
import { BLENDPD, BLENDPS, CRYPTO_END, FLOATS, FLOATS_END, GENERAL, GENERAL_END, INTEGER, INTEGER_END, MOVES, MOVES_END, MPSADBW, SHUFFLES_END, SHUFPD, STRINGS, STRINGS_END } from './vector_kinds';
import { moves } from './vector_move';
import { clearAbove, clears, lanesOf, sharesCount } from './vector_operands';
import { shuffle } from './vector_shuffle';
import { strings } from './vector_string';

/** @returns false after a fault */
export function vector(op: u32): bool {
  const kind = <i32>load<u16>(op);
  if (kind >= INTEGER && kind < CRYPTO_END) {
    const bytes = lanesOf(op) << 4;
    const constant = <u32>imm(op);
    const shared = sharesCount(op);
    const count = v128.load(c(op));
    for (let at: u32 = 0; at < bytes; at += 16) {
      const x = v128.load(b(op) + at);
      const y = shared ? count : v128.load(c(op) + at);
      v128.store(a(op) + at, lane(kind, x, y, constant >> ((at >> 4) * bitsOfLane(kind)), a(op) + at));
    }
    clearAbove(op, bytes);
    return true;
  }
  if (kind >= MOVES && kind < MOVES_END) return moves(kind, op);
  if (kind >= FLOATS && kind < FLOATS_END) return floats(kind, op);
  if (kind >= STRINGS && kind < STRINGS_END) {
    strings(kind, op, clears(op));
    return true;
  }
  if (kind >= GENERAL && kind < GENERAL_END) {
    bmi(kind, op);
    return true;
  }
  store<u32>(STOP, STOP_UNDEFINED);
  return false;
}

/** Of the constant each lane has bits of its own; of others the whole of it is every lane's. */
function bitsOfLane(kind: i32): u32 {
  if (kind == BLENDPS) return 4;
  if (kind == MPSADBW) return 3;
  return kind == BLENDPD || kind == SHUFPD ? 2 : 0;
}

/** @param third of three operands, the one that is the destination, too */
function lane(kind: i32, x: v128, y: v128, constant: u32, third: u32): v128 {
  if (kind < INTEGER_END) return integer(kind, x, y, constant);
  if (kind < SHUFFLES_END) return shuffle(kind, x, y, constant, v128.load(third));
  return crypto(kind, x, y, constant);
}
