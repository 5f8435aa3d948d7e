// What is known about the stack before one instruction: where the caller's stack pointer
// was (the CFA), and where the callee-saved registers are kept.
// Mirrors struct cfi_state of tools/objtool/include/objtool/cfi.h.

/** Bases: 0 to 15 are registers by their encoding; the rest have no number in the CPU. */
export const SP = 4;
export const BP = 5;
export const DI = 7;
export const DX = 2;
export const R10 = 10;
export const R13 = 13;
export const UNDEFINED = -1;
export const CFA = -2;
export const SP_INDIRECT = -3;
export const BP_INDIRECT = -4;

export const TYPE_CALL = 0;
export const TYPE_REGS = 1;
export const TYPE_REGS_PARTIAL = 2;

/** A place: an offset from a base. */
export interface Location {
  readonly base: number;
  readonly offset: number;
}

export const NOWHERE: Location = { base: UNDEFINED, offset: 0 };

const CALLEE_SAVED = [3, 5, 12, 13, 14, 15];
const SLOT = Array.from({ length: 16 }, (_, reg) => CALLEE_SAVED.indexOf(reg));
const BP_SLOT = SLOT[BP] as number;
const NOTHING_SAVED: readonly Location[] = CALLEE_SAVED.map(() => NOWHERE);
const NO_VALUES: readonly Location[] = Array.from({ length: 16 }, () => NOWHERE);

/** Never changed once an instruction holds it: a transition works on a copy. */
export class Cfi {
  cfaBase = UNDEFINED;
  cfaOffset = 0;
  /** Where callee-saved registers are, by slot. */
  saved: readonly Location[] = NOTHING_SAVED;
  /** What other registers hold that is known: an address on the stack. */
  values: readonly Location[] = NO_VALUES;
  /** The return address is where a call puts it. */
  returnKnown = false;
  stackSize = 0;
  drap = false;
  drapReg = UNDEFINED;
  drapOffset = -1;
  type = TYPE_CALL;
  end = false;

  copy(): Cfi {
    return Object.assign(new Cfi(), this);
  }

  savedAt(reg: number): Location {
    return this.saved[SLOT[reg] as number] ?? NOWHERE;
  }

  get bp(): Location {
    return this.saved[BP_SLOT] as Location;
  }

  /** The first save of a callee-saved register counts. */
  save(reg: number, base: number, offset: number): void {
    const slot = SLOT[reg] as number;
    if (slot >= 0 && (this.saved[slot] as Location).base === UNDEFINED) this.setSlot(slot, { base, offset });
  }

  setBp(base: number, offset: number): void {
    this.setSlot(BP_SLOT, { base, offset });
  }

  restore(reg: number): void {
    const slot = SLOT[reg] as number;
    if (slot >= 0) this.setSlot(slot, NOWHERE);
  }

  setValue(reg: number, base: number, offset: number): void {
    const values = [...this.values];
    values[reg] = { base, offset };
    this.values = values;
  }

  private setSlot(slot: number, location: Location): void {
    const saved = [...this.saved];
    saved[slot] = location;
    this.saved = saved;
  }
}

/** At the first instruction of a function that was called. */
export function functionCfi(): Cfi {
  const cfi = new Cfi();
  cfi.cfaBase = SP;
  cfi.cfaOffset = 8;
  cfi.stackSize = 8;
  cfi.returnKnown = true;
  return cfi;
}

/** Anything on the stack that a return, or a jump to another function, must not leave there. */
export function hasModifiedFrame(cfi: Cfi): boolean {
  const clean = cfi.cfaBase === SP && cfi.cfaOffset === 8 && cfi.stackSize === 8 && !cfi.drap;
  return !clean || !cfi.returnKnown || cfi.saved.some((l) => l.base !== UNDEFINED || l.offset !== 0);
}

const show = (l: Location): string => `${l.base}${l.offset < 0 ? '' : '+'}${l.offset}`;

/** How two ways to one instruction disagree, in objtool's words; undefined when they agree. */
export function cfiMismatch(first: Cfi, second: Cfi): string | undefined {
  if (first === second) return undefined;
  if (first.cfaBase !== second.cfaBase || first.cfaOffset !== second.cfaOffset) {
    const cfa = (c: Cfi): string => show({ base: c.cfaBase, offset: c.cfaOffset });
    return `stack state mismatch: cfa1=${cfa(first)} cfa2=${cfa(second)}`;
  }
  for (let slot = 0; slot < CALLEE_SAVED.length; slot++) {
    const [a, b] = [first.saved[slot] as Location, second.saved[slot] as Location];
    if (a.base === b.base && a.offset === b.offset) continue;
    const reg = CALLEE_SAVED[slot];
    return `stack state mismatch: reg1[${reg}]=${show(a)} reg2[${reg}]=${show(b)}`;
  }
  if (first.returnKnown !== second.returnKnown) {
    const ra = (c: Cfi): string => show(c.returnKnown ? { base: CFA, offset: -8 } : NOWHERE);
    return `stack state mismatch: reg1[16]=${ra(first)} reg2[16]=${ra(second)}`;
  }
  if (first.type !== second.type) {
    return `stack state mismatch: type1=${first.type} type2=${second.type}`;
  }
  const differs =
    first.drap !== second.drap ||
    (first.drap && (first.drapReg !== second.drapReg || first.drapOffset !== second.drapOffset));
  if (!differs) return undefined;
  const drap = (c: Cfi): string => `${c.drap ? 1 : 0}(${c.drapReg},${c.drapOffset})`;
  return `stack state mismatch: drap1=${drap(first)} drap2=${drap(second)}`;
}
