// Text that is rewritten while a module loads, to suit the CPU: alternatives, return and retpoline sites, lock
// prefixes.
// Mirrors arch/x86/kernel/alternative.c: apply_alternatives, apply_returns, apply_retpolines,
// alternatives_smp_unlock.
//
// Invariant: runs before the text is executable, so a plain write is enough (text_poke_early).

import { type Addr, hex } from '../../../guest/addr.ts';
import { fillNops, NOPS } from '../../../isa/nops.ts';
import type { KernelNumbers } from '../../kernel_side.ts';
import {
  type FeatureSet,
  type FinalizeContext,
  followRelative,
  type ModuleBytes,
  type PatchCount,
  type Table,
} from '../../module_text.ts';
import { CALL, CALL_SIZE, ENDBR64, genInsn, INT3, JMP8, JMP32, RET, targetOf } from '../insn.ts';
import { joinNops, movedCode } from './moved_code.ts';

/** Length of the instruction at an offset; 0 when it does not decode. */
export type InsnLength = (bytes: Uint8Array, offset: number) => number;

/** The kernel's nop of 1 to 8 bytes. */
export function nopBytes(size: number): Uint8Array {
  return Uint8Array.from(NOPS[size - 1]);
}

interface Alternative {
  readonly instr: Addr;
  readonly repl: Addr;
  instrLen: number;
  readonly replLen: number;
  /** The feature, and whether its absence is asked for. */
  readonly feature: number;
  readonly absent: boolean;
  /** A `call *` through a pointer becomes a call of what it leads to. */
  readonly isDirectCall: boolean;
}

/** Of the member `flags`, which rows of 14 bytes have (6.3, and direct calls from 6.8 on). */
const [ALT_FLAG_NOT, ALT_FLAG_DIRECT_CALL] = [1, 2];

function readAlternatives(mem: ModuleBytes, table: Table, kernel: KernelNumbers): Alternative[] {
  const { size } = kernel.structs.alt_instr;
  const fields: Readonly<Record<string, number | undefined>> = kernel.structs.alt_instr.fields;
  const asks = ownFlags(kernel);
  const rows: Alternative[] = [];
  for (let at = table.addr; at < table.addr + BigInt(table.size); at += BigInt(size)) {
    const place = (member: string): Addr => at + BigInt(fields[member] ?? 0);
    rows.push({
      instr: followRelative(mem, place('instr_offset')),
      repl: followRelative(mem, place('repl_offset')),
      instrLen: mem.readU8(place('instrlen')),
      replLen: mem.readU8(place('replacementlen')),
      ...asks(mem.readU16(place('cpuid')), fields.flags === undefined ? 0 : mem.readU16(place('flags'))),
    });
  }
  return rows;
}

type Asks = Pick<Alternative, 'feature' | 'absent' | 'isDirectCall'>;

/** How an entry says what it asks for: in a bit of cpuid, or in flags of their own. */
function ownFlags({ structs, constants }: KernelNumbers): (cpuid: number, flags: number) => Asks {
  if (hasOwnFlags({ structs }))
    return (feature, flags) => ({
      feature,
      absent: (flags & ALT_FLAG_NOT) !== 0,
      isDirectCall: (flags & ALT_FLAG_DIRECT_CALL) !== 0,
    });
  const inverted = Number(constants.ALTINSTR_FLAG_INV);
  return (cpuid) => ({
    feature: cpuid & ~inverted,
    absent: (cpuid & inverted) !== 0,
    isDirectCall: false,
  });
}

const hasOwnFlags = ({ structs }: Pick<KernelNumbers, 'structs'>): boolean =>
  structs.alt_instr.fields.flags !== undefined;

/** What a port's tables are applied with, beside the context. */
type NameLookup = Pick<FinalizeContext, 'lookupName'>;

/** Puts in the alternatives that the CPU's features select, and makes long nops of the short ones in all sites. */
export function applyAlternatives(
  { mem, features, kernel, lookupName }: FinalizeContext,
  table: Table,
  insnLength: InsnLength,
): PatchCount {
  const count = newCount();
  const isPresent = features.selector(kernel);
  const rows = readAlternatives(mem, table, kernel);
  const later = hasOwnFlags(kernel);
  if (later) extendOverlapping(rows);
  for (const row of rows) {
    const { instr, repl, instrLen, replLen } = row;
    if (replLen > instrLen || !mem.isMapped(instr, instrLen) || !mem.isMapped(repl, replLen)) {
      count.warnings.push(`alternative at ${hex(instr)} of ${instrLen} bytes cannot take ${replLen}`);
      continue;
    }
    let code = mem.readBytes(instr, instrLen);
    if (isPresent(row.feature) === row.absent) {
      count.kept++;
    } else {
      const replacement = row.isDirectCall
        ? directCall(mem, row, code, lookupName)
        : mem.readBytes(repl, replLen);
      code = later
        ? movedCode(replacement, repl, instr, instrLen)
        : replaced(replacement, repl, instr, instrLen);
      count.patched++;
    }
    if (later) joinNops(code);
    else optimizeNops(code, insnLength);
    mem.writeBytes(instr, code);
  }
  return count;
}

/** From 6.10 on entries of one place are all as long as the longest of them. */
function extendOverlapping(rows: readonly Alternative[]): void {
  for (let i = 0; i + 1 < rows.length; i++) {
    const [row, next] = [rows[i], rows[i + 1]];
    if (row.instr !== next.instr) continue;
    let last = i + 1;
    while (last + 1 < rows.length && rows[last + 1].instr === row.instr) last++;
    const all = rows.slice(i, last + 1);
    const longest = Math.max(...all.map(({ instrLen }) => instrLen));
    for (const one of all) one.instrLen = longest;
    i = last;
  }
}

/**
 * alt_replace_call(): a call of what the pointer at the site holds, from where the replacement stands. That is a call of
 * BUG_func(), and stays it where the pointer is none; a function that does nothing is not called.
 */
function directCall(
  mem: ModuleBytes,
  { instr, repl, replLen }: Alternative,
  code: Uint8Array,
  lookupName: NameLookup['lookupName'],
): Uint8Array {
  const replacement = mem.readBytes(repl, replLen);
  const isIndirect = code.length >= INDIRECT_CALL_SIZE && INDIRECT_CALL.every((byte, i) => code[i] === byte);
  if (!isIndirect || replacement[0] !== CALL) return replacement;
  const pointer = instr + BigInt(INDIRECT_CALL_SIZE + new DataView(code.buffer).getInt32(2, true));
  const held = mem.isMapped(pointer, 8) ? mem.readBytes(pointer, 8) : new Uint8Array(8);
  const target = new DataView(held.buffer).getBigUint64(0, true);
  if (target === 0n) return replacement;
  return target === lookupName('nop_func') ? new Uint8Array(0) : genInsn(CALL, repl, target);
}

/** call *disp(%rip) */
const INDIRECT_CALL = [0xff, 0x15];
const INDIRECT_CALL_SIZE = 6;

/** The replacement as it must read at the site, padded with one-byte nops. */
function replaced(replacement: Uint8Array, repl: Addr, instr: Addr, instrLen: number): Uint8Array {
  const code = new Uint8Array(instrLen).fill(0x90);
  code.set(replacement);
  if (replacement.length !== 5) return code;
  const target = repl + 5n + BigInt(new DataView(code.buffer).getInt32(1, true));
  if (code[0] === CALL) code.set(genInsn(CALL, instr, target));
  if (code[0] === JMP32) code.set(shortestJump(instr, target));
  return code;
}

/**
 * recompute_jump(): two bytes where they reach. As in the kernel a backward target is tested as if the displacement
 * were unsigned, and so gets the long form.
 */
function shortestJump(instr: Addr, target: Addr): Uint8Array {
  const distance = target - instr;
  if (distance < 0n || distance - 2n > 127n) return genInsn(JMP32, instr, target);
  return Uint8Array.of(JMP8, Number(distance - 2n) & 0xff, ...NOPS[2]);
}

/** Every run of two and more one-byte nops becomes the fewest long ones. Changes `code` in place. */
export function optimizeNops(code: Uint8Array, insnLength: InsnLength): void {
  let at = 0;
  while (at < code.length) {
    if (code[at] !== 0x90) {
      const length = insnLength(code, at);
      if (length <= 0) return;
      at += length;
      continue;
    }
    let end = at;
    while (end < code.length && code[end] === 0x90) end++;
    if (end - at > 1) fillNops(code.subarray(at, end));
    at = end;
  }
}

/**
 * Makes a plain return of every `jmp __x86_return_thunk`, unless the CPU wants the thunk.
 * @param thunk address of __x86_return_thunk
 */
export function applyReturns(mem: ModuleBytes, table: Table, features: FeatureSet, thunk: Addr): PatchCount {
  const count = newCount();
  for (const addr of siteAddresses(mem, table)) {
    if (!mem.isMapped(addr, 5) || mem.readU8(addr) !== JMP32 || jumpTarget(mem, addr) !== thunk) {
      count.warnings.push(`missing return thunk: ${hex(addr)}`);
    } else if (features.hasNamed('RETHUNK')) {
      count.kept++;
    } else {
      mem.writeBytes(addr, Uint8Array.of(RET, INT3, INT3, INT3, INT3));
      count.patched++;
    }
  }
  return count;
}

/**
 * Makes plain indirect branches of the calls and jumps to retpoline thunks, unless retpolines are what protects
 * this CPU.
 * @param registerOf the register of the thunk at an address, rax 0 to r15 15; undefined for any other address
 */
export function applyRetpolines(
  mem: ModuleBytes,
  table: Table,
  features: FeatureSet,
  insnLength: InsnLength,
  registerOf: (thunk: Addr) => number | undefined,
): PatchCount {
  const count = newCount();
  for (const addr of siteAddresses(mem, table)) {
    const code = mem.isMapped(addr, 6) ? mem.readBytes(addr, 6) : new Uint8Array(6);
    const length = branchLength(code);
    const register = length === 0 ? undefined : registerOf(branchTarget(code, addr, length));
    if (register === undefined || register === 4) {
      count.warnings.push(`no retpoline thunk call at ${hex(addr)}`);
      continue;
    }
    const bytes = indirectBranch(code, length, register, features);
    if (!bytes) {
      count.kept++;
      continue;
    }
    optimizeNops(bytes, insnLength);
    mem.writeBytes(addr, bytes);
    count.patched++;
  }
  return count;
}

/** Bytes of a call, jmp or jcc with a 32-bit displacement, with or without a CS prefix; 0 for anything else. */
function branchLength(code: Uint8Array): number {
  if (code[0] === CALL || code[0] === JMP32) return 5;
  if (code[0] === 0x2e && (code[1] === CALL || code[1] === JMP32)) return 6;
  return code[0] === 0x0f && (code[1] & 0xf0) === 0x80 ? 6 : 0;
}

function branchTarget(code: Uint8Array, addr: Addr, length: number): Addr {
  const displacement = new DataView(code.buffer, code.byteOffset).getInt32(length - 4, true);
  return addr + BigInt(length + displacement);
}

/** patch_retpoline(): the bytes to write, undefined to leave the thunk call alone. */
function indirectBranch(
  code: Uint8Array,
  length: number,
  register: number,
  features: FeatureSet,
): Uint8Array | undefined {
  const lfence = features.hasNamed('RETPOLINE_LFENCE');
  if (features.hasNamed('RETPOLINE') && !lfence) return undefined;
  const isJcc = code[0] === 0x0f;
  const opcode = isJcc ? JMP32 : code[length - 5];
  const bytes: number[] = [];
  if (isJcc) bytes.push(0x70 + ((code[1] & 0xf) ^ 1), length - 2);
  if (lfence) bytes.push(0x0f, 0xae, 0xe8);
  if (register >= 8) bytes.push(0x41);
  bytes.push(0xff, (opcode === CALL ? 0xd0 : 0xe0) + (register & 7));
  // Straight-line speculation past an indirect jump.
  if (opcode === JMP32 && bytes.length < length) bytes.push(INT3);
  if (bytes.length > length) return undefined;
  while (bytes.length < length) bytes.push(0x90);
  return Uint8Array.from(bytes);
}

/**
 * apply_seal_endbr(): functions that are called by their names only are no targets of indirect branches, whether the CPU
 * asks or not.
 */
export function sealEndbr(mem: ModuleBytes, table: Table, poison: number): PatchCount {
  const count = newCount();
  const sealed = Uint8Array.of(poison, poison >>> 8, poison >>> 16, poison >>> 24);
  for (const addr of siteAddresses(mem, table)) {
    const bytes = mem.isMapped(addr, ENDBR64.length) ? mem.readBytes(addr, ENDBR64.length) : sealed;
    if (ENDBR64.every((byte, i) => bytes[i] === byte)) {
      mem.writeBytes(addr, sealed);
      count.patched++;
    } else {
      count.warnings.push(`no endbr64 at ${hex(addr)}, which is to be sealed`);
    }
  }
  return count;
}

/**
 * Makes DS prefixes of the lock prefixes in [text, text + size), for a kernel that booted with one CPU.
 * Text of init is left alone.
 */
export function smpUnlock(mem: ModuleBytes, table: Table, text: Table): PatchCount {
  const count = newCount();
  for (const addr of siteAddresses(mem, table)) {
    const inText = addr >= text.addr && addr < text.addr + BigInt(text.size);
    if (inText && mem.readU8(addr) === 0xf0) {
      mem.writeBytes(addr, Uint8Array.of(0x3e));
      count.patched++;
    } else {
      count.kept++;
    }
  }
  return count;
}

/** The addresses in a table of 32-bit distances from the entries themselves. */
function* siteAddresses(mem: ModuleBytes, table: Table): IterableIterator<Addr> {
  for (let at = table.addr; at + 4n <= table.addr + BigInt(table.size); at += 4n)
    yield followRelative(mem, at);
}

function jumpTarget(mem: ModuleBytes, addr: Addr): Addr {
  return targetOf(addr, mem.readBytes(addr, CALL_SIZE));
}

function newCount(): PatchCount {
  return { patched: 0, kept: 0, warnings: [] };
}
