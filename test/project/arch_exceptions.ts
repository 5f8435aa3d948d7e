// Where src/ knows an instruction set outside of its port, and how often at most (arch.test.ts says how to shrink this).

import type { Rule } from './arch_rules.ts';

type Exception = Readonly<Partial<Record<Rule, number>>> & { readonly why: string };

export const EXCEPTIONS: Readonly<Record<string, Exception>> = {
  // No instructions: what looks like one is something else, and stays.
  'bundle/tar.ts': { why: 'characters of a header of tar', opcode: 3 },
  'elf/unpack.ts': { why: 'the magic of gzip', opcode: 2 },
  'kernel/gfp.ts': { why: 'bits of gfp_t', opcode: 3 },
  'kernel/layout.ts': {
    why: "the built-in table of Debian's x86_64 kernel: fields of pt_regs, constants of asm/",
    register: 108,
    'X86_ constant': 17,
  },
  'kernel/params.ts': { why: 'a comma', opcode: 1 },
  'unpack/x86_filter.ts': { why: "the format's filter for x86 code", opcode: 1 },
  'unpack/xz.ts': { why: 'magics of the format', opcode: 7 },
  'unpack/zstd.ts': { why: 'the magic of the format', opcode: 4 },
  // To be moved behind src/arch/.
  'check/frame_map.ts': { why: 'words of the report', register: 2 },
  'check/frame_rules.ts': { why: 'words of the report', register: 4 },
  'check/image_subject.ts': { why: 'columns of the ORC table', register: 2 },
  'check/judge.ts': { why: 'fields of the report, and columns of the ORC table', opcode: 3, register: 13 },
  'check/ports.ts': { why: 'words and fields of the report', register: 5 },
  'check/preempted_stack.ts': { why: 'columns of the ORC table', opcode: 3, register: 2 },
  'cli/check/report.ts': { why: 'registers and opcodes of what check executes', register: 7 },
  'cli/orc/judge.ts': { why: 'instructions and registers in texts', register: 9 },
  'elf/constants.ts': { why: 'the machine and relocation types of ELF', 'X86_ constant': 1 },
  'elf/kinds.ts': { why: 'the machine and relocation types of ELF', opcode: 2, 'X86_ constant': 3 },
  'elf/orc.ts': { why: "names of ORC's registers, opcodes of stack operations", register: 38 },
  'elf/relocation.ts': { why: 'the machine and relocation types of ELF', 'X86_ constant': 15 },
  'elf/sections.ts': { why: 'the machine and relocation types of ELF', 'X86_ constant': 2 },
  'objtool/compare.ts': { why: "names of ORC's registers, opcodes of stack operations", register: 2 },
  'objtool/diff.ts': { why: "names of ORC's registers, opcodes of stack operations", register: 7 },
  'objtool/orc_dump.ts': { why: "names of ORC's registers, opcodes of stack operations", register: 3 },
  'objtool/orc_format.ts': { why: "names of ORC's registers, opcodes of stack operations", register: 1 },
  'objtool/orc_format_of.ts': { why: "names of ORC's registers, opcodes of stack operations", register: 6 },
  'objtool/orc_gen.ts': { why: "names of ORC's registers, opcodes of stack operations", register: 9 },
  'objtool/orc_rows.ts': { why: "names of ORC's registers, opcodes of stack operations", register: 11 },
  'objtool/orc_write.ts': {
    why: "names of ORC's registers, opcodes of stack operations",
    'X86_ constant': 2,
  },
  'objtool/special_sections.ts': {
    why: "names of ORC's registers, opcodes of stack operations",
    register: 1,
  },
  'objtool/vmlinux.ts': {
    why: "names of ORC's registers, opcodes of stack operations",
    register: 1,
    'X86_ constant': 10,
  },
  'scenario/checks.ts': { why: 'instructions and registers in texts', opcode: 2 },
  'scenario/text.ts': { why: 'instructions and registers in texts', opcode: 1, 'import of src/isa': 1 },
  'scenario/unexpected.ts': { why: 'instructions and registers in texts', register: 3 },
};
