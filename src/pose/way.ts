// The way through a function's code, from its entry to where it calls the next one of a chain: instructions, one behind the other,
// by direct branches alone. What decides the branches is not asked: such a task stands there because somebody said so.
//
// Invariant: no instruction of a way stands behind a call that does not come back.

import type { CodeArch } from '../arch/code.ts';
import {
  INSN_BUG,
  INSN_CALL,
  INSN_CONTEXT_SWITCH,
  INSN_JUMP,
  INSN_JUMP_CONDITIONAL,
  INSN_JUMP_DYNAMIC,
  INSN_RETURN,
  INSN_TRAP,
} from '../arch/code.ts';
import { fromHalves, lo32, TEXT_HI } from '../guest/addr.ts';
import type { KernelCore } from '../kernel/core.ts';
import { readJumpTable } from '../module/patch_sites.ts';
import { isNoreturn } from '../objtool/noreturn.ts';
import { PoseError } from './error.ts';

/** One instruction of a way. */
export interface WayStep {
  /** Low half. */
  readonly at: number;
  readonly length: number;
  /** INSN_* */
  readonly type: number;
}

export interface Way {
  /** The last one is the call, or the jump in its place. */
  readonly steps: readonly WayStep[];
  readonly isTail: boolean;
}

const COLD = /\.cold(\.\d+)?$/;

interface Reached extends WayStep {
  readonly from: number;
}

export class WayFinder {
  readonly #core: KernelCore;
  readonly #code: CodeArch;
  /** Jump labels by the low halves of their places, and where they lead: whatever their keys are now, code is there for both. */
  readonly #labels: ReadonlyMap<number, number>;

  constructor(core: KernelCore, code: CodeArch) {
    this.#core = core;
    this.#code = code;
    this.#labels = labelsOf(core);
  }

  /** @param from, to low halves of entries. @throws PoseError with the reason where there is none */
  find(from: number, to: number, names: { readonly from: string; readonly to: string }): Way {
    const own = this.#core.symbols.lookup(fromHalves(TEXT_HI, from));
    if (!own) throw new PoseError(`${names.from}: no code is there`);
    const [start, end] = [from, from - own.offset + own.size];
    const isOwn = (at: number): boolean => (at >= start && at < end) || this.#isColdPart(at);
    const decoder = this.#code.decoder();
    const reached = new Map<number, Reached>();
    const queue: { at: number; from: number }[] = [{ at: from, from: -1 }];
    const indirect: number[] = [];
    for (let i = 0; i < queue.length; i++) {
      const { at } = queue[i];
      if (reached.has(at)) continue;
      const bytes = this.#bytes(at);
      decoder.decode(bytes, 0);
      const { length, type } = decoder;
      if (length === 0) continue;
      reached.set(at, { at, length, type, from: queue[i].from });
      const target = (at + decoder.target) >>> 0;
      const next = at + length;
      if (type === INSN_CALL && this.#leadsTo(target, to))
        return { steps: stepsTo(reached, at), isTail: false };
      const isJump = type === INSN_JUMP || type === INSN_JUMP_CONDITIONAL;
      if (isJump && !isOwn(target)) {
        if (this.#leadsTo(target, to)) return { steps: stepsTo(reached, at), isTail: true };
      } else if (isJump) queue.push({ at: target, from: at });
      const label = this.#labels.get(at);
      if (label !== undefined) queue.push({ at: label, from: at }, { at: next, from: at });
      if (type === INSN_JUMP_DYNAMIC) indirect.push(at);
      if (ENDS.has(type) || (type === INSN_CALL && this.#neverReturns(target))) continue;
      if (isOwn(next)) queue.push({ at: next, from: at });
    }
    const at = indirect.map((place) => `+0x${(place - from).toString(16)}`);
    const why = indirect.length > 0 ? `; at ${at.join(', ')} it goes where a register says` : '';
    throw new PoseError(`${names.from}: no way of direct branches leads to a call of ${names.to}${why}`);
  }

  /** Through an entry that is a jump to the function that stands for it. */
  #leadsTo(target: number, to: number): boolean {
    if (target === to) return true;
    const decoder = this.#code.decoder();
    decoder.decode(this.#bytes(target), 0);
    return decoder.type === INSN_JUMP && (target + decoder.target) >>> 0 === to;
  }

  #isColdPart(at: number): boolean {
    const found = this.#core.symbols.lookup(fromHalves(TEXT_HI, at));
    return found !== undefined && COLD.test(found.name);
  }

  #neverReturns(target: number): boolean {
    const name = this.#core.symbols.nameOf(fromHalves(TEXT_HI, target));
    return name !== undefined && isNoreturn(name);
  }

  #bytes(at: number): Uint8Array {
    const { mem } = this.#core;
    const addr = fromHalves(TEXT_HI, at);
    if (!mem.isMapped(addr, 1)) return new Uint8Array();
    const size = mem.isMapped(addr, this.#code.longest) ? this.#code.longest : 1;
    return mem.readBytes(addr, size);
  }
}

/** Of the kernel: a module's own are in its sections. */
function labelsOf({ symbols, mem, kernel }: KernelCore): ReadonlyMap<number, number> {
  const [start] = symbols.matches('__start___jump_table', undefined);
  const [stop] = symbols.matches('__stop___jump_table', undefined);
  if (!start || !stop) return new Map();
  const table = { addr: start.addr, size: Number(stop.addr - start.addr) };
  return new Map(readJumpTable({ mem, kernel }, table).map(({ code, target }) => [lo32(code), lo32(target)]));
}

/** Nothing is behind them that follows. */
const ENDS: ReadonlySet<number> = new Set([
  INSN_JUMP,
  INSN_JUMP_DYNAMIC,
  INSN_RETURN,
  INSN_CONTEXT_SWITCH,
  INSN_BUG,
  INSN_TRAP,
]);

function stepsTo(reached: ReadonlyMap<number, Reached>, last: number): WayStep[] {
  const steps: WayStep[] = [];
  for (let at = last; at >= 0; ) {
    const step = reached.get(at) as Reached;
    steps.unshift({ at: step.at, length: step.length, type: step.type });
    at = step.from;
  }
  return steps;
}
