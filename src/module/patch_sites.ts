// Branches that are compiled in or out: jump labels and static calls of a module, set to what their keys say now.
// Mirrors jump_label_add_module() of kernel/jump_label.c and static_call_add_module() of kernel/static_call_inline.c.
//
// Invariant: runs while the module is COMING; its text is executable by then, so writes go through text poking.

import { type BranchSites, followRelative, type ModuleBytes, type Table } from '../arch/module_text.ts';
import { type Addr, hex } from '../guest/addr.ts';
import { sameBytes } from '../guest/bytes.ts';
import type { StructHome } from '../kernel/struct_home.ts';

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

/** The addresses of a table's entries, those of its whole ones. */
function* entriesOf(table: Table, size: number): Iterable<Addr> {
  const count = Math.floor(table.size / size);
  for (let i = 0; i < count; i++) yield table.addr + BigInt(i * size);
}

export function readJumpTable({ mem, kernel }: StructHome, table: Table): JumpEntry[] {
  const { size, fields } = kernel.structs.jump_entry;
  const entries: JumpEntry[] = [];
  for (const at of entriesOf(table, size)) {
    const keyAt = at + BigInt(fields.key);
    const key = mem.readU64(keyAt);
    entries.push({
      code: followRelative(mem, at + BigInt(fields.code)),
      target: followRelative(mem, at + BigInt(fields.target)),
      key: BigInt.asUintN(64, (key & ~3n) + keyAt),
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
export function updateJumpLabels(
  branches: BranchSites,
  { mem, kernel }: StructHome,
  entries: readonly JumpEntry[],
  poke: PokeText,
): SiteResult {
  const enabledAt = BigInt(kernel.structs.static_key.fields.enabled);
  const result: SiteResult = { patched: 0, kept: 0, warnings: [] };
  for (const entry of entries) {
    const label = branches.jumpLabelAt(mem, entry.code);
    if (!label) {
      result.warnings.push(`jump_label: unexpected op at ${hex(entry.code)}`);
      continue;
    }
    const count = entry.key + enabledAt;
    const enabled = mem.isMapped(count, 4) && mem.readS32(count) > 0;
    const jump = enabled !== entry.branch;
    if (jump === label.isJump || !mem.isMapped(count, 4)) {
      result.kept++;
      continue;
    }
    poke(entry.code, jump ? branches.jump(entry.code, entry.target, label.size) : branches.nop(label.size));
    result.patched++;
  }
  return result;
}

export interface StaticCallSite {
  readonly addr: Addr;
  /** struct static_call_key, or the trampoline for a key that is not exported. */
  readonly key: Addr;
  readonly tail: boolean;
}

export function readStaticCallSites({ mem, kernel }: StructHome, table: Table): StaticCallSite[] {
  const { size, fields } = kernel.structs.static_call_site;
  const sites: StaticCallSite[] = [];
  for (const at of entriesOf(table, size)) {
    const key = followRelative(mem, at + BigInt(fields.key));
    const addr = followRelative(mem, at + BigInt(fields.addr));
    sites.push({ addr, key: key & ~3n, tail: (key & 1n) !== 0n });
  }
  return sites;
}

interface StaticCallPorts {
  /** What a key calls now: an address, 0 for nothing, undefined for a key that nobody knows. */
  readonly target: (key: Addr) => Addr | undefined;
  readonly poke: PokeText;
  /** Code that stands for a call of some functions (inlinedCalls()). */
  readonly inlined?: ReadonlyMap<Addr, Uint8Array>;
}

/** By their addresses, the functions that are not called where a site is. @param find undefined for one that a kernel has not */
export function inlinedCalls(
  { inlinedCalls: byName }: BranchSites,
  find: (name: string) => Addr | undefined,
): ReadonlyMap<Addr, Uint8Array> {
  const found = Object.entries(byName).flatMap(([name, code]): [Addr, Uint8Array][] => {
    const addr = find(name);
    return addr === undefined ? [] : [[addr, code]];
  });
  return new Map(found);
}

/**
 * Makes direct calls of the sites. A site whose key is unknown keeps its call of the trampoline, which does the same
 * in two steps.
 */
export function updateStaticCalls(
  branches: BranchSites,
  mem: ModuleBytes,
  sites: readonly StaticCallSite[],
  { target, poke, inlined }: StaticCallPorts,
): SiteResult {
  const result: SiteResult = { patched: 0, kept: 0, warnings: [] };
  for (const site of sites) {
    const func = target(site.key);
    if (func === undefined || !mem.isMapped(site.addr, branches.staticCallReach)) {
      result.kept++;
      continue;
    }
    const fault = branches.staticCallFault(mem, site.addr, site.tail);
    if (fault !== undefined) {
      result.warnings.push(fault);
      continue;
    }
    const inline = site.tail ? undefined : inlined?.get(func);
    const code = inline ?? branches.staticCall(site.addr, func, site.tail);
    if (sameBytes(mem.readBytes(site.addr, code.length), code)) {
      result.kept++;
      continue;
    }
    poke(site.addr, code);
    result.patched++;
  }
  return result;
}
