// Runs Debian's objtool over an assembled image: the image's bytes, symbols and hints go
// through GNU as into an object file, objtool adds its tables, and those are read back.

import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  ORC_REG_BP,
  ORC_REG_DI,
  ORC_REG_DX,
  ORC_REG_R10,
  ORC_REG_R13,
  ORC_REG_SP,
  ORC_REG_SP_INDIRECT,
} from '../../src/arch/x86_64/unwind/orc_registers.ts';
import type { AsmImage, AsmSection, UnwindHint } from '../../src/asm/assembler.ts';
import { type OrcTable, sortOrcTable } from '../../src/elf/orc.ts';
import { decodeAt, FLOW_CALL, FLOW_JCC, FLOW_JMP } from '../../src/isa/decoder.ts';

export const OBJTOOL = '/usr/lib/linux-kbuild-6.1/tools/objtool/objtool';
export const hasObjtool = existsSync(OBJTOOL) && existsSync('/usr/bin/as') && existsSync('/usr/bin/objcopy');

const BASES: Readonly<Record<string, number>> = {
  '': 0,
  rsp: ORC_REG_SP,
  rbp: ORC_REG_BP,
  rdi: ORC_REG_DI,
  rdx: ORC_REG_DX,
  r10: ORC_REG_R10,
  r13: ORC_REG_R13,
  '(rsp)': ORC_REG_SP_INDIRECT,
};
const TYPES: Readonly<Record<UnwindHint['kind'], number>> = {
  empty: 0,
  undefined: 0,
  regs: 1,
  regs_partial: 2,
  func: 3,
  entry: 4,
  save: 5,
  restore: 6,
};

function objectSource(image: AsmImage): string {
  const text = image.sections.find((s) => s.name === '.text');
  if (!text) throw new Error('no text');
  const at = (addr: bigint): string => `(text + ${addr - text.addr})`;
  const lines = ['.text', 'text:'];
  for (let i = 0; i < text.bytes.length; i += 32)
    lines.push(`.byte ${[...text.bytes.subarray(i, i + 32)].join(',')}`);
  for (const { name, addr, size, type, global } of image.symbols.filter((s) => s.section === '.text')) {
    if (type === 'label') continue;
    if (global) lines.push(`.globl ${name}`);
    lines.push(`.set ${name}, text + ${addr - text.addr}`, `.size ${name}, ${size}`);
    lines.push(`.type ${name}, ${type === 'func' ? '@function' : '@notype'}`);
  }
  const hints = image.hints.filter((h) => h.addr >= text.addr);
  if (hints.length > 0) lines.push('.section .discard.unwind_hints, "", @progbits');
  for (const { addr, kind, base, offset } of hints) {
    const end = kind === 'empty' || kind === 'entry' ? 1 : 0;
    lines.push(
      `.long ${at(addr)} - .`,
      `.short ${offset}`,
      `.byte ${BASES[base]}, ${TYPES[kind]}, ${end}`,
      '.balign 4',
    );
  }
  const { inner, thunks } = specialBranches(image, text);
  // Thunks are known by the symbol of a relocation.
  for (const { field, name } of thunks) lines.push(`.reloc text + ${field}, R_X86_64_PLT32, ${name} - 4`);
  if (inner.length > 0) lines.push('.section .discard.intra_function_calls, "", @progbits');
  for (const offset of inner) lines.push(`.long text + ${offset}`);
  return `${lines.join('\n')}\n`;
}

interface SpecialBranches {
  /** Calls to no symbol: the kernel's sources annotate them. */
  readonly inner: number[];
  readonly thunks: { field: number; name: string }[];
}

function specialBranches(image: AsmImage, text: AsmSection): SpecialBranches {
  const names = new Map<number, string>();
  for (const { name, addr, type } of image.symbols)
    if (type !== 'label') names.set(Number(addr - text.addr), name);
  const found: SpecialBranches = { inner: [], thunks: [] };
  for (let at = 0; at < text.bytes.length; ) {
    const { flow, length, target, immSize } = decodeAt(text.bytes, at, at);
    const name = names.get(target);
    if (flow === FLOW_CALL && name === undefined) found.inner.push(at);
    const branches = (flow === FLOW_CALL || flow === FLOW_JMP || flow === FLOW_JCC) && immSize === 4;
    if (branches && name?.startsWith('__x86_')) found.thunks.push({ field: at + length - 4, name });
    at += length || 1;
  }
  return found;
}

export interface RealResult {
  readonly table: OrcTable;
  readonly warnings: string[];
}

/** The kernel's own tool on an image; ips as in the image. */
export function runObjtool(image: AsmImage): RealResult {
  const dir = mkdtempSync(join(tmpdir(), 'klpemu-objtool-'));
  try {
    const object = join(dir, 'a.o');
    writeFileSync(join(dir, 'a.s'), objectSource(image));
    execFileSync('as', ['--64', '-o', object, join(dir, 'a.s')]);
    const log = execFileSync('sh', ['-c', `"${OBJTOOL}" --orc "${object}" 2>&1`], { encoding: 'utf8' });
    const warnings = log.split('\n').flatMap((l) => /objtool: (.*)$/.exec(l)?.[1] ?? []);
    // Linked at the image's address, the relocations of .orc_unwind_ip are applied for us.
    execFileSync('objcopy', ['-w', '-R', '.discard.*', '-R', '.rela.discard.*', object]);
    const base = (image.sections.find((s) => s.name === '.text') as { addr: bigint }).addr;
    execFileSync('ld', [
      '-o',
      join(dir, 'a.elf'),
      '-Ttext',
      `0x${base.toString(16)}`,
      '-e',
      '0',
      object,
      '--section-start',
      '.orc_unwind_ip=0xffffffff90000000',
      '--section-start',
      '.orc_unwind=0xffffffff90100000',
    ]);
    const section = (name: string): Uint8Array => {
      execFileSync('objcopy', ['-O', 'binary', '-j', name, join(dir, 'a.elf'), join(dir, name)]);
      return execFileSync('cat', [join(dir, name)]);
    };
    return { table: readTable(section('.orc_unwind_ip'), section('.orc_unwind')), warnings };
  } finally {
    rmSync(dir, { recursive: true });
  }
}

function readTable(ip: Uint8Array, orc: Uint8Array): OrcTable {
  const ips = new DataView(ip.buffer, ip.byteOffset, ip.length);
  const entries = new DataView(orc.buffer, orc.byteOffset, orc.length);
  const count = ip.length / 4;
  const each = <T>(f: (i: number) => T): T[] => Array.from({ length: count }, (_, i) => f(i));
  return sortOrcTable({
    count,
    ip: Uint32Array.from(each((i) => 0x90000000 + i * 4 + ips.getInt32(i * 4, true))),
    spOffset: Int16Array.from(each((i) => entries.getInt16(i * 6, true))),
    fpOffset: Int16Array.from(each((i) => entries.getInt16(i * 6 + 2, true))),
    flags: Uint16Array.from(each((i) => entries.getUint16(i * 6 + 4, true))),
  });
}
