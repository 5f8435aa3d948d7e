// Which text belongs to a function besides its own range: what GCC split off from it and named after it.
// Mirrors nothing of the kernel's, which knows a function by its symbol alone; the suffixes are those of
// GCC's clone_function_name(): ipa-split.cc (.part), ipa-sra.cc (.isra), ipa-cp.cc (.constprop), bb-reorder.cc (.cold).
//
// `f.cold` is a piece of f, jumped to, with f's frame. `f.part.0` is the rest of an f whose beginning was inlined in
// its callers; `f.isra.0` and `f.constprop.0` beside an f are copies of its body. Where there is no f, `f.isra.0` is the
// whole function under another name: a patch that replaces it names it so, and its own parts are `f.isra.0.cold`.

import { INSN_CALL, INSN_JUMP, INSN_JUMP_CONDITIONAL } from '../../arch/code.ts';
import type { Addr } from '../../guest/addr.ts';
import { lo32 } from '../../guest/addr.ts';
import type { KernelCore } from '../../kernel/core.ts';
import type { KernelSymbol } from '../../kernel/kallsyms.ts';

/** What follows the function's name; several may, as in `f.constprop.0.cold`. */
const SPLIT_OFF = /^(\.cold(\.\d+)?|\.(part|isra|constprop)\.\d+)+$/;

/** Branches whose target is in the instruction. */
const DIRECT = new Set([INSN_CALL, INSN_JUMP, INSN_JUMP_CONDITIONAL]);

/** The symbols of the parts of the function that begins at an address. */
export function partsOf(core: KernelCore, func: Addr): KernelSymbol[] {
  const { symbols } = core;
  const whole = symbols.lookup(func);
  if (whole?.offset !== 0) return [];
  const { name, module } = whole;
  const candidates = symbols
    .derived(name, module)
    .filter((s) => s.addr !== func && SPLIT_OFF.test(s.name.slice(name.length)));
  if (candidates.length === 0) return [];
  const twins = symbols.matches(name, module).filter((s) => s.addr !== func);
  if (twins.length === 0) return candidates;
  // Static functions of one name, with parts of one name: whose a part is shows in who branches to it.
  const own = reached(core, whole, candidates);
  const others = new Set(twins.flatMap((twin) => [...reached(core, twin, candidates)]));
  return candidates.filter((s) => own.has(s) || !others.has(s));
}

/** Those of the candidates that a function's branches lead to, over each other too. */
function reached(
  core: KernelCore,
  from: KernelSymbol,
  candidates: readonly KernelSymbol[],
): Set<KernelSymbol> {
  // A set grows while it is walked.
  const found = new Set([from]);
  for (const text of found) {
    for (const target of branchTargets(core, text)) {
      const part = candidates.find((s) => (target - lo32(s.addr)) >>> 0 < s.size);
      if (part) found.add(part);
    }
  }
  return found;
}

/** Low halves of the addresses that direct branches lead to. */
function branchTargets(core: KernelCore, { addr, size }: KernelSymbol): number[] {
  const targets: number[] = [];
  if (!core.mem.isMapped(addr, size)) return targets;
  const bytes = core.mem.readBytes(addr, size);
  // Whose compiler makes no tables makes no parts.
  const insn = core.arch.code?.decoder();
  if (!insn) return targets;
  for (let at = 0; at < size; at += insn.length || 1) {
    insn.decode(bytes, at);
    if (DIRECT.has(insn.type)) targets.push((lo32(addr) + insn.target) >>> 0);
  }
  return targets;
}
