// Debian's kernels as they are installed: what is in them, and what a check of all of their code says.

import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';
import { fieldOf, layoutOf } from '../../src/btf/layout.ts';
import { CheckGuest } from '../../src/check/check_guest.ts';
import { ObjectChecker } from '../../src/check/check_object.ts';
import { orcFormatOf } from '../../src/objtool/orc_format_of.ts';
import { parseKernelObject } from '../../src/objtool/vmlinux.ts';
import { KernelFile } from '../../src/vmlinuz/kernel_file.ts';
import { KIND_FUNCTION } from '../../src/vmlinuz/symbols.ts';
import { vmlinuzOf } from './debian_kernels.ts';

interface Expected {
  readonly packing: string;
  readonly symbols: number;
  readonly encoding: string;
  readonly functions: number;
  readonly orcEntries: number;
  /** sizeof module, then init, exit, klp. */
  readonly module: readonly number[];
  /** sizeof task_struct, then pid, comm, patch_state. */
  readonly task: readonly number[];
  /** Instructions that are wrong and declared reliable, by function: docs/findings.md has each. */
  readonly wrong: Readonly<Record<string, number>>;
}

const THUNKS = [
  'rax',
  'rcx',
  'rdx',
  'rbx',
  'rbp',
  'rsi',
  'rdi',
  'r8',
  'r9',
  'r10',
  'r11',
  'r12',
  'r13',
  'r14',
  'r15',
];
const CALLEE_SAVED = /^(rbx|rbp|r1[2-5])$/;
const RETURNS = { rewind_stack_and_make_dead: 2 };

const KERNELS: Readonly<Record<'6.1' | '6.12' | '7.3', Expected>> = {
  '6.1': {
    packing: 'xz',
    symbols: 94_266,
    encoding: 'offsets from a base, those of per-CPU symbols absolute',
    functions: 49_605,
    orcEntries: 384_849,
    module: [896, 312, 848, 800],
    task: [9792, 2416, 2976, 5212],
    wrong: {
      ...RETURNS,
      start_cpu0: 1,
      entry_ibpb: 1,
      __switch_to_asm: 1,
      relocate_kernel: 27,
      // Behind the push of where it goes, too, where that is none of the caller's registers.
      ...Object.fromEntries(
        THUNKS.map((name) => [`__x86_indirect_thunk_${name}`, CALLEE_SAVED.test(name) ? 2 : 3]),
      ),
    },
  },
  '6.12': {
    packing: 'zstd',
    symbols: 166_932,
    encoding: 'offsets from a base, those of per-CPU symbols absolute',
    functions: 110_975,
    orcEntries: 450_712,
    module: [1280, 312, 1200, 1152],
    task: [9792, 2432, 2976, 5212],
    wrong: { ...RETURNS, soft_restart_cpu: 3, relocate_range: 27 },
  },
  '7.3': {
    packing: 'zstd',
    symbols: 209_812,
    encoding: 'offsets from their own places',
    functions: 130_566,
    orcEntries: 531_463,
    module: [1280, 304, 1208, 1160],
    task: [6144, 2872, 3408, 5772],
    wrong: { ...RETURNS, soft_restart_cpu: 3 },
  },
};

let guest: CheckGuest;
beforeAll(() => {
  guest = new CheckGuest();
});
afterAll(() => guest.close());

describe.each(Object.keys(KERNELS) as (keyof typeof KERNELS)[])("Debian's %s", (series) => {
  const path = vmlinuzOf(series);
  const wanted = KERNELS[series];

  it.skipIf(!path)('has the symbols, functions, tables and types that are known of it', () => {
    const file = new KernelFile(readFileSync(path as string), path as string, X86_64);
    const { symbols, btf, kernel } = file;
    expect(file.packing).toBe(wanted.packing);
    expect([symbols.count, symbols.names.encoding]).toEqual([wanted.symbols, wanted.encoding]);
    expect(symbols.kind.filter((kind) => kind === KIND_FUNCTION).length).toBe(wanted.functions);
    expect((kernel.section('.orc_unwind_ip')?.size ?? 0) / 4).toBe(wanted.orcEntries);
    const layout = (name: string, ...fields: string[]): (number | undefined)[] => [
      btf && layoutOf(btf, name)?.size,
      ...fields.map((field) => btf && fieldOf(btf, name, field)?.offset),
    ];
    expect(layout('module', 'init', 'exit', 'klp')).toEqual(wanted.module);
    expect(layout('task_struct', 'pid', 'comm', 'patch_state')).toEqual(wanted.task);
  });

  it.skipIf(!path)(
    'is covered to 99 %, and wrong and declared reliable where findings say, and nowhere else',
    () => {
      const elf = parseKernelObject(readFileSync(path as string), path as string, X86_64);
      const format = orcFormatOf(elf, X86_64.code.orc)?.format;
      const checker = new ObjectChecker(guest, elf, { unwinder: 'orc', ...(format ? { format } : {}) });
      const { functions, reached, instructions } = checker.check();
      checker.release();
      expect(reached / instructions).toBeGreaterThan(0.99);
      const wrong = functions.filter((one) => one.wrong > 0).map((one) => [one.name, one.wrong] as const);
      expect(Object.fromEntries(wrong)).toEqual(wanted.wrong);
    },
  );
});
