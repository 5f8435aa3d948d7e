// Which address a patch means by a name and a position. Mirrors klp_find_object_symbol() of
// kernel/livepatch/core.c.

import type { Addr } from '../guest/addr.ts';
import { kernelFunctions } from '../kernel/known_functions.ts';
import type { KlpContext } from './context.ts';

/**
 * @param objname undefined for vmlinux.
 * @param sympos which of several symbols of the name, from 1; 0: there must be only one.
 * @returns the address; undefined, with the reason in the log, when there is none or no telling which.
 */
export function klpFindObjectSymbol(
  klp: KlpContext,
  objname: string | undefined,
  name: string,
  sympos: bigint,
): Addr | undefined {
  if (klp.core.faults.check('klp_find_object_symbol', name) !== 0) return undefined;
  const all = symbolsNamed(klp, objname, name);
  // The kernel stops counting at the one wanted, or at the second when the name should be unique.
  const limit = sympos > 0n ? sympos : 2n;
  const count = BigInt(all.length) < limit ? BigInt(all.length) : limit;
  const addr = count === 0n ? 0n : all[Number(count) - 1];
  if (addr === 0n) {
    klp.err(`symbol '${name}' not found in symbol table`);
    if (objname === undefined) noteMissing(klp, name);
  } else if (count > 1n && sympos === 0n) {
    klp.err(`unresolvable ambiguity for symbol '${name}' in object '${objname ?? '(null)'}'`);
  } else if (sympos > 0n && sympos !== count) {
    klp.err(`symbol position ${sympos} for symbol '${name}' in object '${objname ?? 'vmlinux'}' not found`);
  } else {
    return addr;
  }
  return undefined;
}

/** A function that the real kernel has is no mistake of the patch. */
function noteMissing({ core }: KlpContext, name: string): void {
  if (!kernelFunctions().has(name)) return;
  const { release } = core.kernel;
  const text =
    `'${name}' is a function of Debian's ${release} that livepatches can replace there; ` +
    "this machine's image does not have it (docs/differences.md says what it has)";
  core.events.emit({ type: 'note', text });
}

/** In the order by which positions count: ascending in vmlinux, the symbol table's in a module. */
function symbolsNamed(klp: KlpContext, objname: string | undefined, name: string): readonly Addr[] {
  if (objname === undefined) return klp.core.symbols.matches(name, undefined).map((s) => s.addr);
  const mod = klp.ports.modules.findModule(objname);
  return mod === undefined ? [] : klp.ports.modules.symbolsNamed(mod, name);
}
