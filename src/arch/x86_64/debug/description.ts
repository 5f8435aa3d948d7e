// The target description that gdb asks for first: which registers there are, in the order of the `g` packet.
// gdb's manual, Target Description Format; features org.gnu.gdb.i386.*.

import { REGISTERS } from './registers.ts';

const FEATURES: readonly (readonly [name: string, from: string, to: string])[] = [
  ['org.gnu.gdb.i386.core', 'rax', 'fop'],
  ['org.gnu.gdb.i386.segments', 'fs_base', 'gs_base'],
];

const TYPES: Readonly<Record<string, string>> = { rip: 'code_ptr', rsp: 'data_ptr', rbp: 'data_ptr' };

function typeOf(name: string, bytes: number): string {
  if (bytes === 10) return 'i387_ext';
  return TYPES[name] ?? `int${8 * bytes}`;
}

function feature(name: string, from: string, to: string): string {
  const first = REGISTERS.findIndex((register) => register.name === from);
  const last = REGISTERS.findIndex((register) => register.name === to);
  const lines = REGISTERS.slice(first, last + 1).map(
    (register, i) =>
      `    <reg name="${register.name}" bitsize="${8 * register.bytes}" type="${typeOf(register.name, register.bytes)}" regnum="${first + i}"/>`,
  );
  return [`  <feature name="${name}">`, ...lines, '  </feature>'].join('\n');
}

/** No operating system: for that of Linux gdb would look for a dynamic linker, instead of asking which modules there are. */
export const DESCRIPTION = `<?xml version="1.0"?>
<!DOCTYPE target SYSTEM "gdb-target.dtd">
<target version="1.0">
  <architecture>i386:x86-64</architecture>
  <osabi>none</osabi>
${FEATURES.map(([name, from, to]) => feature(name, from, to)).join('\n')}
</target>
`;
