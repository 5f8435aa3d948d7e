// Vector instructions, and those of the maps 0F38 and 0F3A: from the decoder to their row.

import { VECTOR_USED } from '../../core/layout.ts';
import { GENERAL_0F3A, GENERAL_0F38 } from './general_rows.ts';
import type { Instruction } from './instruction.ts';
import { FLOATS_0F, FLOATS_0F3A } from './vector_float_rows.ts';
import { INTEGERS_0F, INTEGERS_0F3A, INTEGERS_0F38 } from './vector_integer_rows.ts';
import { MOVES_0F, MOVES_0F3A, MOVES_0F38 } from './vector_move_rows.ts';
import { VectorOperands } from './vector_operands.ts';
import { VectorTables } from './vector_rows.ts';

let tables: VectorTables | undefined;
const operands = new VectorOperands();

/** Made when the first vector instruction is met: most runs meet none. */
const tablesOf = (): VectorTables =>
  new VectorTables()
    .add(1, MOVES_0F)
    .add(1, INTEGERS_0F)
    .add(1, FLOATS_0F)
    .add(2, MOVES_0F38)
    .add(2, INTEGERS_0F38)
    .add(2, GENERAL_0F38)
    .add(3, MOVES_0F3A)
    .add(3, INTEGERS_0F3A)
    .add(3, FLOATS_0F3A)
    .add(3, GENERAL_0F3A);

/** Encoded by VEX, on general registers: they need no state of vectors. */
const isOfGeneral = ({ map, opcode }: VectorOperands): boolean =>
  map === 2 ? opcode >= 0xf0 : map === 3 && opcode === 0xf0;

/** Contexts are to keep their vector registers from now on. @returns false when there is no such instruction */
export function translateVector(i: Instruction): boolean {
  if (!operands.begin(i)) return false;
  if (operands.vex && !i.hasXsave && !isOfGeneral(operands)) return false;
  tables ??= tablesOf();
  if (!tables.translate(operands)) return false;
  i.w.setCell(VECTOR_USED, 1);
  return true;
}
