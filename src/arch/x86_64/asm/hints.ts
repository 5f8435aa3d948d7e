// Unwind hints for the ORC generator, under the names of 6.1's asm/unwind_hints.h.

import { AsmError, type Place } from '../../../asm/error.ts';
import type { Hint, HintKind } from '../../../asm/hint.ts';

export const HINTS: Readonly<Record<string, HintKind>> = {
  UNWIND_HINT_EMPTY: 'empty',
  UNWIND_HINT_ENTRY: 'entry',
  UNWIND_HINT_REGS: 'regs',
  UNWIND_HINT_IRET_REGS: 'regs_partial',
  UNWIND_HINT_FUNC: 'func',
  UNWIND_HINT_SAVE: 'save',
  UNWIND_HINT_RESTORE: 'restore',
  UNWIND_HINT_UNDEFINED: 'undefined',
};

const BASES = new Set(['rsp', 'rbp', 'rdi', 'rdx', 'r10', 'r13']);
/** rest of pt_regs above the callee-saved half, skipped by `extra=0`. */
const EXTRA_REGS = 16 * 8;

function readArguments(place: Place, operands: string, allowed: readonly string[]): Map<string, string> {
  const args = new Map<string, string>();
  for (const piece of operands.split(/[\s,]+/).filter((p) => p !== '')) {
    const [name, value] = piece.split('=');
    if (!name || value === undefined || !allowed.includes(name)) {
      throw new AsmError(place, `bad argument '${piece}', there are ${allowed.join(' ') || 'none'}`, piece);
    }
    args.set(name, value);
  }
  return args;
}

export function readHint(
  place: Place,
  word: string,
  operands: string,
  number: (text: string) => bigint,
): Hint {
  const kind = HINTS[word] as HintKind;
  const takesRegs = kind === 'regs' || kind === 'regs_partial';
  const allowed = kind === 'regs' ? ['base', 'offset', 'partial', 'indirect', 'extra'] : ['base', 'offset'];
  const args = readArguments(place, operands, takesRegs ? allowed : []);
  if (kind === 'func') return { kind, base: 'rsp', offset: 8 };
  if (!takesRegs) return { kind, base: '', offset: 0 };
  const base = (args.get('base') ?? 'rsp').replace(/^%/, '');
  if (!BASES.has(base)) throw new AsmError(place, `UNWIND_HINT_REGS: bad base register '${base}'`, base);
  const flag = (name: string, fallback: bigint): boolean =>
    (args.has(name) ? number(args.get(name) as string) : fallback) !== 0n;
  const offset = Number(number(args.get('offset') ?? '0'));
  const shown = flag('indirect', 0n) ? `(${base})` : base;
  if (!flag('extra', 1n)) return { kind: 'regs_partial', base: shown, offset: offset + EXTRA_REGS };
  return { kind: flag('partial', 0n) ? 'regs_partial' : kind, base: shown, offset };
}
