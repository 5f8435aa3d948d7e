// Where src/ seems to know an instruction set outside of its port, how often at most, and why it does not, or has to.

import type { Rule } from './arch_rules.ts';

type Exception = Readonly<Partial<Record<Rule, number>>> & { readonly why: string };

export const EXCEPTIONS: Readonly<Record<string, Exception>> = {
  // No instructions: what looks like one is something else.
  'bundle/tar.ts': {
    why: "characters that a tar's header is made of: a type, the = of a record, its newline",
    opcode: 3,
  },
  'kernel/errno.ts': { why: 'EL3HLT and EL2HLT: names of errors', opcode: 1 },
  'elf/unpack.ts': { why: 'the magic of gzip', opcode: 2 },
  'unpack/xz.ts': { why: 'magics of the format', opcode: 7 },
  'unpack/zstd.ts': { why: 'the magic of the format', opcode: 4 },
  'frames/dwarf_program.ts': { why: 'DW_CFA_*: instructions of call frame information', opcode: 27 },
  'frames/expression.ts': { why: 'DW_OP_*: operations of DWARF expressions', opcode: 44 },
  'timeline/perfetto.ts': {
    why: "bp is a field of the Trace Event Format: a flow's binding point",
    register: 2,
  },
  // An instruction set that is part of something else than the port.
  'kernel/layout.ts': {
    why: "one kernel as data, Debian's for x86_64, made by a script from that kernel's type information: a description of another kernel has other names",
    register: 42,
    'X86_ constant': 36,
  },
  'kernel/defines.ts': {
    why: 'constants of the same kernels that are others in later releases, as data',
    register: 4,
    opcode: 1,
    'X86_ constant': 1,
  },
  'unpack/x86_filter.ts': {
    why: 'the format of xz has a filter that turns the addresses of x86 calls around, whatever machine unpacks it',
    opcode: 1,
  },
};
