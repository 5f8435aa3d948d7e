// Code that fills the registers, calls something, and notes what is in them then.

import type { Addr } from '../../src/guest/addr.ts';
import type { World } from './world.ts';

/** Those that a call may change. */
export const SCRATCH = ['rax', 'rcx', 'rdx', 'rsi', 'rdi', 'r8', 'r9', 'r10', 'r11'];
/** Those that it gives back, but for rbx, which code here needs, and rsp. */
const KEPT = ['rbp', 'r12', 'r13', 'r14', 'r15'];
const ALL = [...SCRATCH, ...KEPT];

const FLAGS_AT = 8 * ALL.length;
/** Bytes that the code notes registers and flags in. */
export const NOTED = FLAGS_AT + 8;

const value = (at: number): number => 0x1100 + at;
/** What each register is to hold behind the call. */
export const FILLED = ALL.map((name, at) => [name, value(at)]);

export const CARRY = 0x1n;
const INTERRUPTS = 0x200n;
/** Of the flags, what the call comes with. */
export const FLAGS = INTERRUPTS | CARRY;

/**
 * A kernel function of one argument, what it notes in.
 * @param before @param behind code with rbx for that argument; it may change the registers
 */
export const fillAndCall = (func: string, before = '', behind = ''): string => `
push rbx
${KEPT.map((name) => `push ${name}`).join('\n')}
mov rbx, rdi
${before}
${ALL.map((name, at) => `mov ${name}, ${value(at)}`).join('\n')}
stc
call ${func}
pushfq
${ALL.map((name, at) => `mov [rbx+${8 * at}], ${name}`).join('\n')}
pop rax
mov [rbx+${FLAGS_AT}], rax
${behind}
${KEPT.toReversed()
  .map((name) => `pop ${name}`)
  .join('\n')}
pop rbx
xor eax, eax
ret`;

export function notedIn(world: World, at: Addr): { registers: (string | number)[][]; flags: bigint } {
  const { mem } = world.machine.inspect.core;
  const registers = ALL.map((name, i) => [name, Number(mem.readU64(at + BigInt(8 * i)))]);
  return { registers, flags: mem.readU64(at + BigInt(FLAGS_AT)) & FLAGS };
}
