// Members of structures that have another size in a later kernel: who reads one as wide as it is in the built-in
// description reads its neighbours there. Each that differs is listed, with who goes by it.

import { describe, expect, it } from 'vitest';
import type { Btf } from '../../src/btf/btf.ts';
import { KIND } from '../../src/btf/kinds.ts';
import { openBtf } from '../../src/cli/kernel_input.ts';
import { BUILT_IN } from '../../src/kernel/description.ts';
import { OUR_STRUCTS } from '../../src/kernel/private_layout.ts';
import { vmlinuzOf } from '../vmlinuz/debian_kernels.ts';

/** By `STRUCT.MEMBER: bytes in 6.1, bytes here`: why nobody takes harm. */
const KNOWN: Readonly<Record<string, string>> = {
  'task_struct.on_cpu: 4, 1': 'runFlagBytes() and SET_ON_CPU',
  'task_struct.on_rq: 4, 1': 'runFlagBytes()',
  'pt_regs.cs: 8, 2': 'what is behind it is of FRED: an entry by the IDT leaves zeros',
  'pt_regs.ss: 8, 2': 'what is behind it is of FRED: an entry by the IDT leaves zeros',
  'filename.iname: 0, 168': 'the name goes on to the end of the allocation',
};

const RECORDS: ReadonlySet<number> = new Set([KIND.struct, KIND.union]);

/** Sizes in bytes of what is no structure, by the names of the description. */
function sizesOf(btf: Btf, type: number, prefix = '', into = new Map<string, number>()): Map<string, number> {
  for (const member of btf.members(type)) {
    const name = prefix + member.name;
    const of = btf.resolved(member.type);
    if (RECORDS.has(btf.kind(of))) sizesOf(btf, of, member.name === '' ? prefix : `${name}_`, into);
    else if (member.width === 0 && !into.has(name)) into.set(name, btf.size(member.type));
  }
  return into;
}

function allSizes(series: '6.1' | '6.12' | '7.3'): Map<string, number> {
  const btf = openBtf(vmlinuzOf(series) as string);
  const all = new Map<string, number>();
  for (const [name, { fields }] of Object.entries(BUILT_IN.structs)) {
    const type = btf.named(name, KIND.struct).find((one) => btf.members(one).length > 0);
    if (OUR_STRUCTS.has(name) || type === undefined) continue;
    const sizes = sizesOf(btf, type);
    for (const field of Object.keys(fields)) {
      const size = sizes.get(field);
      if (size !== undefined) all.set(`${name}.${field}`, size);
    }
  }
  return all;
}

describe.each(['6.12', '7.3'] as const)('a member of a structure of %s', (series) => {
  it.skipIf(!vmlinuzOf('6.1') || !vmlinuzOf(series))('is as large as in 6.1, or known not to be', () => {
    const [before, now] = [allSizes('6.1'), allSizes(series)];
    const differ = [...before].filter(([name, size]) => now.has(name) && now.get(name) !== size);
    const lines = differ.map(([name, size]) => `${name}: ${size}, ${now.get(name)}`);
    expect(lines.filter((line) => !Object.hasOwn(KNOWN, line))).toEqual([]);
    expect(before.size).toBeGreaterThan(300);
  });
});
