// Two judges' answers to one case: in what they differ.

import { REG } from '../../../../src/arch/x86_64/context.ts';
import { type Case, STATUS } from './cases.ts';
import type { Outcome } from './rig.ts';
import { resultIsUndefined, undefinedFlags } from './undefined_flags.ts';

const NAMES = Object.keys(REG);
const JUDGED_FLAGS = STATUS | 0x400;

const hex = (value: bigint): string => `0x${value.toString(16)}`;

/**
 * The same in the same words. What the next instruction does, a fetch of it that fails, is not this one's; and an
 * address that is not canonical is none: engines without page tables call the fault of it a page fault.
 */
function normal(outcome: Outcome): Outcome {
  const { kind, executed, fault = '', regs } = outcome;
  if (kind !== 'page fault') return outcome;
  if (executed > 0 && fault.startsWith('fetch')) return { ...outcome, kind: 'budget', fault: undefined };
  const addr = BigInt((/0x[0-9a-f]+/.exec(fault) as RegExpExecArray)[0]);
  const canonical = BigInt.asUintN(64, BigInt.asIntN(48, addr)) === addr;
  return canonical ? outcome : { ...outcome, kind: 'exception', fault: undefined, regs };
}

/** @returns what differs, in words; empty where nothing does */
export function differences(one: Case, theirs: Outcome, others: Outcome): string[] {
  const said: string[] = [];
  const [a, b] = [normal(theirs), normal(others)];
  const differ = (what: string, of: (outcome: Outcome) => string): void => {
    if (of(a) !== of(b)) said.push(`${what} ${of(a)} / ${of(b)}`);
  };
  differ(
    'stop',
    ({ kind, fault, executed }) =>
      `${kind}${fault ? ` ${fault}` : ''}${one.form.repeat ? '' : ` after ${executed}`}`,
  );
  if (resultIsUndefined(one)) return said;
  for (let i = 0; i < 17; i++) {
    if (a.regs[i] !== b.regs[i]) said.push(`${NAMES[i]} ${hex(a.regs[i])} / ${hex(b.regs[i])}`);
  }
  const open = one.undefinedAfter
    ? one.undefinedAfter[a.executed]
    : a.kind === 'budget'
      ? undefinedFlags(one)
      : 0;
  const mask = BigInt(JUDGED_FLAGS & ~open);
  differ('flags', ({ regs }) => flagNames(regs[REG.rflags] & mask));
  const width = one.vectors.length / 16;
  for (let i = 0; a.vectors && b.vectors && width > 0 && i < 16; i++) {
    differ(`${one.form.registers}${i}`, ({ vectors }) => {
      return Buffer.from((vectors as Uint8Array).subarray(width * i, width * (i + 1))).toString('hex');
    });
  }
  return said;
}

const FLAGS: readonly (readonly [bigint, string])[] = [
  [0x1n, 'C'],
  [0x4n, 'P'],
  [0x10n, 'A'],
  [0x40n, 'Z'],
  [0x80n, 'S'],
  [0x400n, 'D'],
  [0x800n, 'O'],
];

const flagNames = (flags: bigint): string => FLAGS.map(([bit, name]) => (flags & bit ? name : '-')).join('');

/** All that it takes to say what the case is. */
export function describeCase(one: Case): string {
  const bytes = Buffer.from(one.bytes).toString('hex');
  const regs = NAMES.map((name, i) => `${name}=${one.regs[i].toString(16)}`).join(' ');
  return `${one.form.name} [${one.place.user ? 'ring 3' : 'ring 0'}] ${bytes}\n  ${regs}`;
}
