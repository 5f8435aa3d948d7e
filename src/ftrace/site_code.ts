// What the call sites' bytes are, and their change while CPUs may execute them. Mirrors arch/x86/kernel/ftrace.c:
// ftrace_replace_code, ftrace_verify_code, ftrace_update_ftrace_func.
//
// Invariant: all sites of a change are checked before the first is poked, and nothing is poked when one is not as it
// should be; text is poked under text_mutex.

import type { FentrySite } from '../arch/fentry.ts';
import type { Addr } from '../guest/addr.ts';
import type { HostGenerator } from '../guest/hostcall.ts';
import type { KernelCore } from '../kernel/core.ts';
import { UAPI } from '../kernel/uapi.ts';
import { ftraceBug } from './bug.ts';
import type { FtraceRec } from './dyn_ftrace.ts';
import type { Poke, TextPoke } from './text_poke.ts';

export class SiteCode {
  readonly #core: KernelCore;
  readonly #fentry: FentrySite;
  readonly #poke: TextPoke;
  readonly #textMutex: Addr;
  readonly #lock: Addr;
  readonly #unlock: Addr;
  /** Where the static callers call whoever traces. */
  readonly #calls: readonly Addr[];

  constructor(core: KernelCore, poke: TextPoke) {
    const { arch, symbols } = core;
    this.#core = core;
    this.#fentry = arch.fentry;
    this.#poke = poke;
    this.#textMutex = symbols.require('text_mutex');
    this.#lock = symbols.require('mutex_lock');
    this.#unlock = symbols.require('mutex_unlock');
    this.#calls = [arch.trampoline.caller.call, arch.trampoline.regsCaller.call].map((name) =>
      symbols.require(name),
    );
  }

  /** ftrace_verify_code(). @returns 0, -EFAULT where nothing is mapped, -EINVAL for other bytes */
  verify(ip: Addr, expected: Uint8Array): number {
    const holds = this.#core.mem.holdsThere(ip, expected);
    if (holds === undefined) return -UAPI.EFAULT;
    return holds ? 0 : -UAPI.EINVAL;
  }

  /**
   * ftrace_replace_code().
   * @param wanted what a record's site is to call; 0 for a nop
   * @returns whether all sites were as they should be: nothing is changed otherwise
   */
  *replace(records: Iterable<FtraceRec>, wanted: (rec: FtraceRec) => Addr): HostGenerator<boolean> {
    // There may be 50,000: nothing is made for each that outlives its batch.
    const changed: FtraceRec[] = [];
    const targets: Addr[] = [];
    const scratch = new Uint8Array(this.#fentry.size);
    for (const rec of records) {
      const target = wanted(rec);
      if (target === rec.target) continue;
      const failed = this.verify(rec.ip, this.#instruction(rec.ip, rec.target, scratch));
      if (failed) {
        const expected = this.#instruction(rec.ip, rec.target);
        if (failed === -UAPI.EINVAL) yield* this.warn('ftrace_verify_code', 0);
        ftraceBug(this.#core, failed, rec, expected, bugType(rec.target, target));
        yield* this.warn('ftrace_bug', 0);
        return false;
      }
      changed.push(rec);
      targets.push(target);
    }
    for (const [i, rec] of changed.entries()) {
      rec.target = targets[i];
      rec.wasTouched ||= rec.target !== 0n;
    }
    yield { call: this.#lock, args: [this.#textMutex] };
    yield* this.#poke.batchOf(changed, ({ ip, target }) => this.#instruction(ip, target));
    yield { call: this.#unlock, args: [this.#textMutex] };
    return true;
  }

  #instruction(ip: Addr, target: Addr, into?: Uint8Array): Uint8Array {
    return target === 0n ? this.#fentry.nop : this.#fentry.call(ip, target, into);
  }

  /** ftrace_update_ftrace_func(): what the static callers call. */
  *updateStaticCallers(func: Addr): HostGenerator<void> {
    const { mem } = this.#core;
    yield { call: this.#lock, args: [this.#textMutex] };
    for (const ip of this.#calls) {
      const insn = this.#fentry.call(ip, func);
      if (!mem.holds(ip, insn)) yield* this.#poke.poke(ip, insn);
    }
    yield { call: this.#unlock, args: [this.#textMutex] };
  }

  /** text_poke_bp() of each under text_mutex, as many at once as a batch has room for. */
  *pokeLive(pokes: readonly Poke[]): HostGenerator<void> {
    yield { call: this.#lock, args: [this.#textMutex] };
    yield* this.#poke.batch(pokes);
    yield { call: this.#unlock, args: [this.#textMutex] };
  }

  /** The function of the image that warns, and the way to it. */
  *warn(name: string, arg: number): HostGenerator<void> {
    const call = this.#core.symbols.matches(name, undefined)[0]?.addr;
    if (call !== undefined) yield { call, args: [arg] };
  }
}

/** print_bug_type() */
function bugType(from: Addr, to: Addr): string {
  if (to === 0n) return 'Setting ftrace call site to NOP';
  return from === 0n
    ? 'Setting ftrace call site to call ftrace function'
    : 'Updating ftrace call site to call a different ftrace function';
}
