// All that `klpemu orc` does with an object, for objects that are broken: what comes out must be
// tables or an error with a code, in bounded time.

import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { parseElf } from '../../src/elf/elf_object.ts';
import { ElfError } from '../../src/elf/error.ts';
import { diffOrc } from '../../src/objtool/diff.ts';
import { inputFromElf } from '../../src/objtool/elf_input.ts';
import { ObjtoolError } from '../../src/objtool/error.ts';
import { orcFormatOf, readOrc } from '../../src/objtool/orc_format_of.ts';
import { createOrc } from '../../src/objtool/orc_gen.ts';
import { writeOrc } from '../../src/objtool/orc_write.ts';

/** 'tables', or the error's message; anything else is thrown on. */
export function tryObject(bytes: Uint8Array, name: string): string {
  try {
    const elf = parseElf(bytes, name, X86_64.elf);
    const format = orcFormatOf(elf, X86_64.code.orc)?.format;
    const result = createOrc(inputFromElf(elf, X86_64.code, format));
    const theirs = readOrc(elf, X86_64.code.orc);
    if (theirs) diffOrc(result, theirs);
    if (elf.symtab)
      parseElf(Buffer.concat(writeOrc(elf, result.rows, format ?? '6.1', X86_64.code)), name, X86_64.elf);
    return 'tables';
  } catch (error) {
    if (error instanceof ElfError || error instanceof ObjtoolError) return error.message;
    throw error;
  }
}
