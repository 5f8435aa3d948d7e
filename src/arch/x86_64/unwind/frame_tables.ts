// Frame tables of x86_64: SFrame's and DWARF's.

import type { FrameTables } from '../../frame_tables.ts';
import { DWARF_PT_REGS, DWARF_RBP, DWARF_RETURN_ADDRESS, DWARF_RSP } from './dwarf_registers.ts';
import { TableUnwinder } from './unwind_table.ts';

/** SFRAME_ABI_AMD64_ENDIAN_LITTLE */
const SFRAME_ABI = { number: 3, name: 'AMD64' };

export const FRAME_TABLES: FrameTables = {
  registers: {
    sp: DWARF_RSP,
    fp: DWARF_RBP,
    returnAddress: DWARF_RETURN_ADDRESS,
    names: DWARF_PT_REGS.map((name) => (/^r\d/.test(name) ? name : `r${name}`)),
  },
  sframe: SFRAME_ABI,
  ptRegs: DWARF_PT_REGS,
  callSize: 8,
  unwinder: (rows) => ({
    reliable: true,
    byFrames: false,
    make: ({ arena, lookup }) => new TableUnwinder(arena, lookup, rows),
  }),
};
