// Where src/ knows an instruction set outside of its port, and how often at most (arch.test.ts says how to shrink this).

import type { Rule } from './arch_rules.ts';

type Exception = Readonly<Partial<Record<Rule, number>>> & { readonly why: string };

export const EXCEPTIONS: Readonly<Record<string, Exception>> = {
  // No instructions: what looks like one is something else, and stays.
  'bundle/tar.ts': { why: 'characters of a header of tar', opcode: 3 },
  'elf/file_kind.ts': { why: 'the signature of a boot sector, in a bzImage', opcode: 2 },
  'elf/unpack.ts': { why: 'the magic of gzip', opcode: 2 },
  'kernel/gfp.ts': { why: 'bits of gfp_t', opcode: 3 },
  'kernel/layout.ts': {
    why: "the built-in table of Debian's x86_64 kernel: fields of pt_regs, constants of asm/",
    register: 42,
    'X86_ constant': 33,
  },
  'kernel/params.ts': { why: 'a comma', opcode: 1 },
  'unpack/x86_filter.ts': { why: "the format's filter for x86 code", opcode: 1 },
  'unpack/xz.ts': { why: 'magics of the format', opcode: 7 },
  'unpack/zstd.ts': { why: 'the magic of the format', opcode: 4 },
  // To be moved behind src/arch/.
  'check/frame_map.ts': {
    why: 'what check says of frames and flags by name, and what it makes of ORC rows',
    register: 2,
  },
  'check/frame_rules.ts': {
    why: 'what check says of frames and flags by name, and what it makes of ORC rows',
    register: 4,
  },
  'check/image_subject.ts': {
    why: 'what check says of frames and flags by name, and what it makes of ORC rows',
    register: 2,
  },
  'check/judge.ts': {
    why: 'what check says of frames and flags by name, and what it makes of ORC rows',
    register: 13,
    opcode: 3,
  },
  'check/verdicts.ts': {
    why: 'what check says of frames and flags by name, and what it makes of ORC rows',
    register: 5,
  },
  'check/preempted_stack.ts': {
    why: 'what check says of frames and flags by name, and what it makes of ORC rows',
    register: 2,
    opcode: 3,
  },
  'cli/check/report.ts': {
    why: 'what check says of frames and flags by name, and what it makes of ORC rows',
    register: 7,
  },
  'cli/orc/judge.ts': { why: "names of ORC's bases, numbers of relocations", register: 9 },
  'elf/orc.ts': { why: 'the ORC format: numbers of registers, as orc_types.h names them', register: 38 },
  'objtool/compare.ts': { why: "names of ORC's bases, numbers of relocations", register: 2 },
  'objtool/diff.ts': { why: "names of ORC's bases, numbers of relocations", register: 7 },
  'objtool/orc_dump.ts': { why: "names of ORC's bases, numbers of relocations", register: 3 },
  'objtool/orc_format.ts': { why: "names of ORC's bases, numbers of relocations", register: 1 },
  'objtool/orc_format_of.ts': { why: "names of ORC's bases, numbers of relocations", register: 6 },
  'objtool/orc_gen.ts': { why: "names of ORC's bases, numbers of relocations", register: 9 },
  'objtool/orc_rows.ts': { why: "names of ORC's bases, numbers of relocations", register: 11 },
  'objtool/special_sections.ts': { why: "names of ORC's bases, numbers of relocations", register: 1 },
};
