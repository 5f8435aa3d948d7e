// Two judges' answers to one case: in what they differ.

import { REG } from '../../../../src/arch/x86_64/context.ts';
import { type Case, STATUS } from './cases.ts';
import type { Outcome } from './rig.ts';
import { isApproximate, resultIsUndefined, undefinedFlags } from './undefined_flags.ts';
import { shapeOf } from './vectors.ts';

const NAMES = Object.keys(REG);
const JUDGED_FLAGS = STATUS | 0x400;
/** IF and AC: of a process they are the host's. */
const KERNEL_FLAGS = 0x40200;

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

/** Of two results that are each within 1.5 * 2^-12 of what is exact; with room for that to be small. */
const NEAR = 3.01 * 2 ** -12;

/** Numbers of 4 bytes that are the same, or near: what is infinite, zero or no number is the same. */
export function areNear(ours: Uint8Array, theirs: Uint8Array): boolean {
  const [x, y] = [ours, theirs].map((bytes) => new Float32Array(bytes.slice().buffer));
  const [bits, others] = [x, y].map(({ buffer }) => new Uint32Array(buffer));
  return x.every((value, i) => bits[i] === others[i] || Math.abs(value - y[i]) <= NEAR * Math.abs(y[i]));
}

/** @returns what differs, in words; empty where nothing does */
export function differences(one: Case, theirs: Outcome, others: Outcome): string[] {
  const said: string[] = [];
  const [a, b] = [normal(theirs), normal(others)];
  const differ = (what: string, x: string, y: string): void => {
    if (x !== y) said.push(`${what} ${x} / ${y}`);
  };
  const stopOf = ({ kind, fault, executed }: Outcome): string =>
    `${kind}${fault ? ` ${fault}` : ''}${one.form.repeat ? '' : ` after ${executed}`}`;
  differ('stop', stopOf(a), stopOf(b));
  if (resultIsUndefined(one)) return said;
  for (let i = 0; i < 17; i++) {
    if (a.regs[i] !== b.regs[i]) said.push(`${NAMES[i]} ${hex(a.regs[i])} / ${hex(b.regs[i])}`);
  }
  const open = one.undefinedAfter
    ? one.undefinedAfter[a.executed]
    : a.kind === 'budget'
      ? undefinedFlags(one)
      : 0;
  const judged = one.place.user ? JUDGED_FLAGS : JUDGED_FLAGS | KERNEL_FLAGS;
  const mask = BigInt(judged & ~open);
  differ('flags', flagNames(a.regs[REG.rflags] & mask), flagNames(b.regs[REG.rflags] & mask));
  if (a.vectors && b.vectors) compareVectors(one, a.vectors, b.vectors, differ);
  return said;
}

function compareVectors(
  one: Case,
  ours: Uint8Array,
  theirs: Uint8Array,
  differ: (what: string, a: string, b: string) => void,
): void {
  if (Buffer.compare(ours, theirs) === 0) return;
  const { count, bytes, masks } = shapeOf(one.form);
  const compare = (name: string, at: number, size: number): void => {
    const [x, y] = [ours.subarray(at, at + size), theirs.subarray(at, at + size)];
    if (Buffer.compare(x, y) === 0) return;
    if (isApproximate(one) && areNear(x, y)) return;
    differ(name, Buffer.from(x).toString('hex'), Buffer.from(y).toString('hex'));
  };
  for (let i = 0; i < count; i++) compare(`${one.form.registers}${i}`, bytes * i, bytes);
  for (let i = 0; i < masks; i++) compare(`k${i}`, count * bytes + 8 * i, 8);
}

const FLAGS: readonly (readonly [bigint, string])[] = [
  [0x1n, 'C'],
  [0x4n, 'P'],
  [0x10n, 'A'],
  [0x40n, 'Z'],
  [0x80n, 'S'],
  [0x200n, 'I'],
  [0x400n, 'D'],
  [0x800n, 'O'],
  [0x40000n, 'L'],
];

const flagNames = (flags: bigint): string => FLAGS.map(([bit, name]) => (flags & bit ? name : '-')).join('');

/** All that it takes to say what the case is. */
export function describeCase(one: Case): string {
  const bytes = Buffer.from(one.bytes).toString('hex');
  const regs = NAMES.map((name, i) => `${name}=${one.regs[i].toString(16)}`).join(' ');
  return `${one.form.name} [${one.place.user ? 'ring 3' : 'ring 0'}] ${bytes}\n  ${regs}`;
}
