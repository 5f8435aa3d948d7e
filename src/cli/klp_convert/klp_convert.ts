// `klpemu klp-convert`: a livepatch with unresolved symbols becomes one whose symbols livepatch resolves.

import { readFileSync } from 'node:fs';
import { X86_64 } from '../../arch/x86_64/x86_64.ts';
import { parseElf } from '../../elf/elf_object.ts';
import { ElfError } from '../../elf/error.ts';
import { type KlpConversion, klpConvert } from '../../elf/klp_convert.ts';
import { type KlpSymbol, klpSymbolName, parseKlpSymbols } from '../../elf/klp_symbols.ts';
import { EXIT, UsageError } from '../exit.ts';
import { counted } from '../numbers.ts';
import { readObject } from '../object_files.ts';
import { print, printFolded } from '../terminal.ts';
import { writeNamed } from '../write_whole.ts';

interface KlpConvertOptions {
  readonly symbols?: readonly string[];
  readonly forSplit?: boolean;
  readonly json?: boolean;
}

export function convert(input: string, output: string, options: KlpConvertOptions): void {
  const conversion = readable(() => {
    const listed = new Map<string, readonly KlpSymbol[]>();
    for (const file of options.symbols ?? []) {
      for (const [name, where] of parseKlpSymbols(readFileSync(file, 'utf8'), file)) {
        listed.set(name, [...(listed.get(name) ?? []), ...where]);
      }
    }
    return klpConvert(parseElf(readObject(input), input, X86_64.elf), listed, {
      forSplit: options.forSplit === true,
    });
  });
  writeNamed(output, conversion.bytes);
  const { bytes: _, ...told } = conversion;
  if (options.json) print(`${JSON.stringify({ input, output, ...told })}\n`);
  else printFolded(text(conversion, output));
  if (conversion.unmatched.length > 0) process.exitCode = EXIT.failed;
}

/** What is wrong with the files is the user's affair. */
function readable<T>(run: () => T): T {
  try {
    return run();
  } catch (error) {
    if (error instanceof ElfError) throw new UsageError(error.message);
    throw error;
  }
}

function text({ converted, sections, unresolved, unmatched }: KlpConversion, output: string): string {
  const times = (n: number): string => counted(n, 'relocation');
  const lines = [
    ...converted.map((one) => `  ${klpSymbolName(one)}: ${times(one.relocations)}`),
    ...sections.map(({ name, relocations }) => `  ${name}: ${times(relocations)}`),
  ];
  const rest = unresolved.length > 0 ? `  left to exports: ${unresolved.join(' ')}\n` : '';
  const none = unmatched.length > 0 ? `  in the list, and used nowhere: ${unmatched.join(' ')}\n` : '';
  return `${output}:\n${lines.map((line) => `${line}\n`).join('')}${rest}${none}`;
}
