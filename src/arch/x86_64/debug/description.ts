// The target description that gdb asks for first: which registers there are, in the order of the `g` packet.
// gdb's manual, Target Description Format; features org.gnu.gdb.i386.*.

import { REGISTERS } from './registers.ts';

const FEATURES: readonly (readonly [name: string, from: string, to: string])[] = [
  ['org.gnu.gdb.i386.core', 'rax', 'fop'],
  ['org.gnu.gdb.i386.segments', 'fs_base', 'gs_base'],
  ['org.gnu.gdb.i386.sse', 'xmm0', 'mxcsr'],
  ['org.gnu.gdb.i386.avx', 'ymm0h', 'ymm15h'],
];

const TYPES: Readonly<Record<string, string>> = { rip: 'code_ptr', rsp: 'data_ptr', rbp: 'data_ptr' };

function typeOf(name: string, bytes: number): string {
  if (bytes === 10) return 'i387_ext';
  if (name.startsWith('xmm')) return 'vec128';
  if (name === 'mxcsr') return 'i386_mxcsr';
  if (bytes === 16) return 'uint128';
  return TYPES[name] ?? `int${8 * bytes}`;
}

/** What is not among gdb's own types, by the register that is of it. */
const VECTORS = [
  ['v4_float', 'ieee_single', 4],
  ['v2_double', 'ieee_double', 2],
  ['v16_int8', 'int8', 16],
  ['v8_int16', 'int16', 8],
  ['v4_int32', 'int32', 4],
  ['v2_int64', 'int64', 2],
] as const;
/** Intel SDM volume 1, figure 10-3. */
const MXCSR_BITS = ['IE', 'DE', 'ZE', 'OE', 'UE', 'PE', 'DAZ', 'IM', 'DM', 'ZM', 'OM', 'UM', 'PM'];
const SSE_TYPES = [
  ...VECTORS.map(([id, type, count]) => `    <vector id="${id}" type="${type}" count="${count}"/>`),
  '    <union id="vec128">',
  ...VECTORS.map(([id]) => `      <field name="${id}" type="${id}"/>`),
  '      <field name="uint128" type="uint128"/>',
  '    </union>',
  '    <flags id="i386_mxcsr" size="4">',
  ...MXCSR_BITS.map((bit, i) => `      <field name="${bit}" start="${i}" end="${i}"/>`),
  '      <field name="FZ" start="15" end="15"/>',
  '    </flags>',
];

function feature(name: string, from: string, to: string): string {
  const first = REGISTERS.findIndex((register) => register.name === from);
  const last = REGISTERS.findIndex((register) => register.name === to);
  const lines = REGISTERS.slice(first, last + 1).map(
    (register, i) =>
      `    <reg name="${register.name}" bitsize="${8 * register.bytes}" type="${typeOf(register.name, register.bytes)}" regnum="${first + i}"/>`,
  );
  const types = from === 'xmm0' ? SSE_TYPES : [];
  return [`  <feature name="${name}">`, ...types, ...lines, '  </feature>'].join('\n');
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
