// Original code of modules for which a patch is enabled: where it lies, and how much of it was executed.
//
// Invariant: what a task executes before it has switched, in a module that was there when the patch was enabled, is
// not counted: that is what a transition is. A module that came after the patch was enabled has no such excuse.

import type { Bundle, Member } from '../bundle/bundle.ts';
import { patchModule } from '../bundle/format.ts';
import { lo32 } from '../guest/addr.ts';
import type { Machine } from '../machine/machine.ts';
import type { Module } from '../module/module.ts';

interface Range {
  readonly start: number;
  readonly size: number;
  /** Offset of the fentry site: a landing pad may come before it. */
  readonly site: number;
  /** The patch was enabled before the module came. */
  readonly late: boolean;
}

interface OriginalCode {
  readonly instructions: number;
  readonly begun: boolean;
}

const NONE: OriginalCode = { instructions: 0, begun: false };

export class Originals {
  readonly #machine: Machine;
  /** Functions that some enabled patch has, by object. */
  readonly #patched = new Map<string, Set<string>>();
  readonly #functions = new Map<Member, readonly string[]>();
  #ranges: Range[] = [];
  /** Modules that were there when the first patch for them was enabled. */
  readonly #early = new Set<Module>();

  constructor(machine: Machine) {
    this.#machine = machine;
    machine.events.subscribe(() => this.#refresh(), ['transition', 'module']);
  }

  /**
   * Original code in the block at `start`; what is at the function's start, up to its call or nop, is none.
   * @param start low half of its address
   * @returns instructions of it, and whether a run of the function begins with them
   */
  count(start: number, executed: number): OriginalCode {
    const { core, livepatch } = this.#machine.inspect;
    const { fentry } = core.arch;
    for (const range of this.#ranges) {
      const at = (start - range.start) >>> 0;
      if (at >= range.size) continue;
      if (!range.late && livepatch.transitionPatch) return NONE;
      const behind = range.site + fentry.size;
      // What follows the call of a trampoline that has led to no other function.
      if (at >= behind) return { instructions: executed, begun: at === behind };
      const site = (0xffffffffn << 32n) | BigInt(range.start + range.site);
      const called = fentry.target(site, core.mem.readBytes(site, fentry.size)) !== undefined;
      // The nop, and the landing pad before it when that is executed too.
      const begin = at === 0 && range.site > 0 ? 2 : 1;
      return called ? NONE : { instructions: executed - begin, begun: true };
    }
    return NONE;
  }

  #refresh(): void {
    const { livepatch, modules } = this.#machine.inspect;
    for (const patch of livepatch.patches().filter((p) => p.enabled)) {
      // Objects that are not loaded are known from the patch module in one model, from the bundle in the other.
      for (const object of patch.objects()) {
        if (object.name === undefined) continue;
        for (const func of object.funcs()) this.#add(object.name, func.oldName ?? '');
      }
    }
    for (const bundle of this.#machine.inspect.bundles?.list() ?? []) {
      if (!bundle.patch.enabled) continue;
      for (const member of bundle.members) {
        for (const func of this.#functionsOf(bundle, member)) this.#add(member.spec.object, func);
      }
    }
    this.#ranges = modules.loader.modules.all.flatMap((mod) => this.#rangesOf(mod));
  }

  /** Of a member whose object may be away, by its file; the kernel's own are no module's. */
  #functionsOf(bundle: Bundle, member: Member): readonly string[] {
    if (member.blob === 0n) return [];
    const known = this.#functions.get(member);
    if (known) return known;
    const { functions } = patchModule(
      member.spec.file,
      bundle.bytesOf(member),
      this.#machine.inspect.core.arch.elf,
    );
    this.#functions.set(member, functions);
    return functions;
  }

  #add(object: string, func: string): void {
    const funcs = this.#patched.get(object) ?? new Set<string>();
    if (!this.#patched.has(object)) {
      const mod = this.#machine.inspect.modules.find(object);
      if (mod) this.#early.add(mod);
    }
    this.#patched.set(object, funcs.add(func));
  }

  #rangesOf(mod: Module): Range[] {
    const { core, ftrace } = this.#machine.inspect;
    if (mod.freed || mod.state === 'UNFORMED') return [];
    return [...(this.#patched.get(mod.name) ?? [])].flatMap((name) =>
      mod.symbolsNamed(name).map((addr) => ({
        start: lo32(addr),
        size: core.symbols.sizeAndOffset(addr)?.size ?? 0,
        site: Math.max(0, Number(ftrace.location(addr) - addr)),
        late: !this.#early.has(mod),
      })),
    );
  }
}
