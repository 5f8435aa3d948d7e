// Branches that are compiled in or out: jump labels and static calls of a module, set to what their keys say now.
// Mirrors jump_label_add_module() of kernel/jump_label.c, static_call_add_module() of kernel/static_call_inline.c
// and __static_call_transform() of arch/x86/kernel/static_call.c.
//
// Invariant: runs while the module is COMING; its text is executable by then, so writes go through text poking.

import { type Addr, hex } from '../guest/addr.ts';
import {
  CALL,
  genInsn,
  INT3,
  JMP8,
  JMP32,
  type ModuleBytes,
  nopBytes,
  RET,
  type Table,
} from './alternative.ts';

/** Writes live text. */
type PokeText = (addr: Addr, bytes: Uint8Array) => void;

export interface JumpEntry {
  readonly code: Addr;
  readonly target: Addr;
  /** struct static_key */
  readonly key: Addr;
  /** The branch is taken when the key is false. */
  readonly branch: boolean;
}

interface KeyMemory extends ModuleBytes {
  readU64(addr: Addr): bigint;
}

/** sizeof(struct jump_entry) */
const JUMP_ENTRY_SIZE = 16n;

export function readJumpTable(mem: KeyMemory, table: Table): JumpEntry[] {
  const entries: JumpEntry[] = [];
  for (let at = table.addr; at + JUMP_ENTRY_SIZE <= table.addr + BigInt(table.size); at += JUMP_ENTRY_SIZE) {
    const key = mem.readU64(at + 8n);
    entries.push({
      code: at + BigInt(mem.readS32(at)),
      target: at + 4n + BigInt(mem.readS32(at + 4n)),
      key: BigInt.asUintN(64, (key & ~3n) + at + 8n),
      branch: (key & 1n) !== 0n,
    });
  }
  return entries;
}

interface SiteResult {
  patched: number;
  kept: number;
  readonly warnings: string[];
}

/** Sets the sites to their keys. Keys that are not in memory count as they were compiled. */
export function updateJumpLabels(mem: KeyMemory, entries: readonly JumpEntry[], poke: PokeText): SiteResult {
  const result: SiteResult = { patched: 0, kept: 0, warnings: [] };
  for (const entry of entries) {
    const size = jumpSize(mem, entry.code);
    if (size === 0) {
      result.warnings.push(`jump_label: unexpected op at ${hex(entry.code)}`);
      continue;
    }
    const enabled = mem.isMapped(entry.key, 4) && mem.readS32(entry.key) > 0;
    const jump = enabled !== entry.branch;
    const isJump = mem.readU8(entry.code) === (size === 2 ? JMP8 : JMP32);
    if (jump === isJump || !mem.isMapped(entry.key, 4)) {
      result.kept++;
      continue;
    }
    poke(entry.code, jump ? jumpBytes(entry, size) : nopBytes(size));
    result.patched++;
  }
  return result;
}

function jumpBytes(entry: JumpEntry, size: number): Uint8Array {
  if (size === 5) return genInsn(JMP32, entry.code, entry.target);
  return Uint8Array.of(JMP8, Number(entry.target - entry.code - 2n) & 0xff);
}

/** 2 or 5, by the jump or nop at the site; 0 for anything else. */
function jumpSize(mem: ModuleBytes, code: Addr): number {
  if (!mem.isMapped(code, 5)) return 0;
  const bytes = mem.readBytes(code, 5);
  if (bytes[0] === JMP8) return 2;
  if (bytes[0] === JMP32) return 5;
  if (equal(bytes.subarray(0, 2), nopBytes(2))) return 2;
  return equal(bytes, nopBytes(5)) ? 5 : 0;
}

export interface StaticCallSite {
  readonly addr: Addr;
  /** struct static_call_key, or the trampoline for a key that is not exported. */
  readonly key: Addr;
  readonly tail: boolean;
}

export function readStaticCallSites(mem: ModuleBytes, table: Table): StaticCallSite[] {
  const sites: StaticCallSite[] = [];
  for (let at = table.addr; at + 8n <= table.addr + BigInt(table.size); at += 8n) {
    const key = at + 4n + BigInt(mem.readS32(at + 4n));
    sites.push({ addr: at + BigInt(mem.readS32(at)), key: key & ~3n, tail: (key & 1n) !== 0n });
  }
  return sites;
}

interface StaticCallPorts {
  /** What a key calls now: an address, 0 for nothing, undefined for a key that nobody knows. */
  readonly target: (key: Addr) => Addr | undefined;
  readonly poke: PokeText;
}

/**
 * Makes direct calls of the sites. A site whose key is unknown keeps its call of the trampoline, which does the same
 * in two steps.
 */
export function updateStaticCalls(
  mem: ModuleBytes,
  sites: readonly StaticCallSite[],
  { target, poke }: StaticCallPorts,
): SiteResult {
  const result: SiteResult = { patched: 0, kept: 0, warnings: [] };
  for (const site of sites) {
    const func = target(site.key);
    if (func === undefined || !mem.isMapped(site.addr, 6)) {
      result.kept++;
      continue;
    }
    const opcode = mem.readU8(site.addr);
    if (opcode !== CALL && opcode !== JMP32) {
      result.warnings.push(
        `unexpected static_call insn opcode 0x${opcode.toString(16)} at ${hex(site.addr)}`,
      );
      continue;
    }
    const code = staticCallBytes(site, func);
    if (equal(mem.readBytes(site.addr, 5), code)) {
      result.kept++;
      continue;
    }
    poke(site.addr, code);
    result.patched++;
  }
  return result;
}

function staticCallBytes(site: StaticCallSite, func: Addr): Uint8Array {
  if (func !== 0n) return genInsn(site.tail ? JMP32 : CALL, site.addr, func);
  return site.tail ? Uint8Array.of(RET, INT3, INT3, INT3, INT3) : nopBytes(5);
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
