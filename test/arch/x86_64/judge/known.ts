// Where a judge is known to be wrong, or to answer what the manual leaves open: each with who is right.
//
// A difference that no row is about is a fault until somebody has asked the manual.

import { REG } from '../../../../src/arch/x86_64/context.ts';
import { PAGE_SIZE } from '../../../../src/guest/memory.ts';
import { FLOW_FAR, FLOW_MASK } from '../../../../src/isa/decoder.ts';
import { STATUS } from './cases.ts';
import type { Outcome } from './rig.ts';
import type { Difference } from './trial.ts';

export interface Known {
  readonly name: string;
  /** Who is right, and by what. */
  readonly right: string;
  applies(difference: Difference): boolean;
}

const is = ({ one }: Difference, mnemonics: RegExp): boolean => mnemonics.test(one.form.mnemonic);
const onlyOf = ({ said }: Difference, what: RegExp): boolean => said.every((line) => what.test(line));
const faultOf = (outcome: Outcome | undefined): { access: string; addr: bigint } | undefined => {
  const found = outcome?.kind === 'page fault' ? /(\w+) (0x[0-9a-f]+)/.exec(outcome.fault ?? '') : undefined;
  return found ? { access: found[1], addr: BigInt(found[2]) } : undefined;
};
const endsAs = (outcome: Outcome | undefined, kind: Outcome['kind']): boolean => outcome?.kind === kind;
/** Who is right has faulted, and changed no register: repetitions before the fault may have. */
function hasFaulted({ one, subject }: Difference): boolean {
  if (!endsAs(subject, 'page fault') && !endsAs(subject, 'exception')) return false;
  if (one.form.repeat !== undefined && one.form.repeat !== 'lock') return true;
  const flags = (subject.regs[REG.rflags] ^ one.regs[REG.rflags]) & BigInt(STATUS);
  return flags === 0n && one.regs.every((value, i) => i === REG.rflags || subject.regs[i] === value);
}
/** An instruction of the form that refers to memory by its distance from RIP. */
const isRipRelative = ({ one }: Difference): boolean => {
  const at = one.bytes.length - 5 - one.form.immediate;
  return one.form.operand === 'memory' && at > 0 && (one.bytes[at] & 0xc7) === 5;
};
const hasRex = ({ one }: Difference): boolean => one.bytes.some((byte) => byte >> 4 === 4);

const zeroFlag = (outcome: Outcome | undefined): boolean =>
  ((outcome?.regs[REG.rflags] ?? 0n) & 0x40n) !== 0n;
/** An offset of 64 bits and a selector behind it. */
const isWideFarPointer = ({ one }: Difference): boolean => /m16:64/.test(one.form.name);

export const UNICORN_IS_WRONG: readonly Known[] = [
  {
    name: 'has a device at every port, which answers 0',
    right: 'both: the machine has none, and the bus reads as ones',
    applies: (difference) => is(difference, /^ins?[bwd]?$/) && onlyOf(difference, /^(rax|memory)/),
  },
  {
    name: 'loads nothing into ss for whoever asks',
    right: 'manual, MOV and LSS: #GP where RPL is not CPL',
    applies: (difference) =>
      is(difference, /^(mov|lss)$/) &&
      difference.one.form.operand !== 'none' &&
      /sreg|^lss/.test(difference.one.form.name) &&
      endsAs(difference.subject, 'exception') &&
      endsAs(difference.judge, 'budget'),
  },
  {
    name: 'reads 6 bytes for m16:64',
    right: 'manual, LSS, CALL and JMP: an offset of 64 bits with REX.W',
    applies: isWideFarPointer,
  },
  {
    name: 'has no bits 16 to 19 in what lar reads',
    right: 'both: the manual leaves them open',
    applies: (difference) => is(difference, /^lar$/) && onlyOf(difference, /^r/),
  },
  {
    name: 'takes bits of MXCSR that there are not',
    right: 'manual, LDMXCSR and FXRSTOR: #GP; and the host',
    applies: (difference) =>
      is(difference, /^(ldmxcsr|fxrstor(64)?)$/) &&
      endsAs(difference.subject, 'exception') &&
      (difference.judge?.executed ?? 0) > 0,
  },
  {
    name: 'keeps bits of the control word of x87 that there are not',
    right: 'the host: bit 6 is one always, bits that are reserved are zero',
    applies: (difference) => is(difference, /^(fldcw|fxrstor64)$/) && onlyOf(difference, /^memory/),
  },
  {
    name: 'does not look whether the whole of an image of registers is there',
    right: 'the host; manual, FXSAVE: an operand of 512 bytes, and 6.5: what faults has changed nothing',
    applies: (difference) => is(difference, /^fx(save|rstor)/) && endsAs(difference.subject, 'page fault'),
  },
  {
    name: 'leaves bytes of an image of registers as they are',
    right: 'the host, which writes zeros to them',
    applies: (difference) => is(difference, /^fxsave/) && onlyOf(difference, /^memory/),
  },
  {
    name: 'does not look whether the line of clflush is there',
    right: 'manual, CLFLUSH: #PF as for a load; and the host',
    applies: (difference) =>
      is(difference, /^clflush(opt)?$/) && hasFaulted(difference) && endsAs(difference.judge, 'budget'),
  },
  {
    name: 'reports the read of an operand that is read and written',
    right: 'manual 4.7: the access that caused the fault; processors take such an operand as written',
    applies: ({ subject, judge }) => {
      const [ours, theirs] = [faultOf(subject), faultOf(judge)];
      return ours?.access === 'write' && theirs?.access === 'read' && ours.addr - theirs.addr < 16n;
    },
  },
  {
    name: 'writes for maskmovdqu a byte at a time, and faults behind the instruction',
    right: 'manual 6.5: an instruction that faults has changed nothing; the address is open',
    applies: (difference) => is(difference, /^v?maskmovdqu$/) && faultOf(difference.judge) !== undefined,
  },
  {
    name: 'writes the first part of an operand whose second page may not be written',
    right: 'manual 6.5: an instruction that faults has changed nothing; the address is of the second page',
    applies: (difference) => {
      const { subject, judge, said } = difference;
      if (!hasFaulted(difference) && !is(difference, /^swapgs$/)) return false;
      const [ours, theirs] = [faultOf(subject), faultOf(judge)];
      const samePage = ours && theirs && ours.addr / 4096n === theirs.addr / 4096n;
      const crossing = samePage && ours.addr % BigInt(PAGE_SIZE) === 0n;
      return crossing === true && said.every((line) => /^(stop|memory|flags|[xy]mm)/.test(line));
    },
  },
  {
    name: 'changes flags or registers before the access that faults',
    right: 'manual 6.5: an instruction that faults has changed nothing',
    applies: (difference) =>
      hasFaulted(difference) &&
      endsAs(difference.judge, 'page fault') &&
      onlyOf(difference, /^(flags|[xy]mm|memory|r[a-ds0-9])/),
  },
  {
    name: 'does not ask for alignment of 16 bytes',
    right: 'manual 2.4: #GP for an operand of 16 bytes that is not aligned, but of movups and its like',
    applies: (difference) =>
      hasFaulted(difference) &&
      endsAs(difference.subject, 'exception') &&
      difference.one.form.registers === 'xmm' &&
      difference.one.form.operand === 'memory',
  },
  {
    name: 'computes the sign of lock neg before it negates',
    right: 'manual, NEG: flags according to the result',
    applies: (difference) =>
      is(difference, /^neg$/) && difference.one.form.repeat === 'lock' && onlyOf(difference, /^flags/),
  },
  {
    name: 'takes spl for ah in lahf and sahf with REX',
    right: 'manual, LAHF: AH, whatever the prefix',
    applies: (difference) => is(difference, /^[ls]ahf$/) && hasRex(difference),
  },
  {
    name: 'lacks the form',
    right: 'the manual and the host, which have it',
    applies: ({ judge }) => endsAs(judge, 'undefined instruction'),
  },
  {
    name: 'jumps to an address that is not canonical',
    right: 'manual, CALL, JMP and RET: #GP at the instruction',
    applies: (difference) => is(difference, /^(call|jmp|ret)$/) && hasFaulted(difference),
  },
  {
    name: 'enters without looking whether the new top of the stack can be written',
    right: 'manual, ENTER: #PF where a write to the final stack pointer would fault',
    applies: (difference) => is(difference, /^enter$/) && hasFaulted(difference),
  },
  {
    name: 'forgets the constant in an address that is relative to RIP',
    right: 'manual 2.2.1.6: relative to the next instruction',
    applies: (difference) =>
      is(difference, /^(sh[lr]d|test)$/) && difference.one.form.immediate > 0 && isRipRelative(difference),
  },
  {
    name: 'chooses another NaN of two',
    right: 'manual 4.8.3.5: the first source operand, made quiet',
    applies: (difference) =>
      is(difference, /^(addsub|h?add|h?sub|mul|div|min|max|sqrt|cvt|dpp)/) && onlyOf(difference, /^[xy]mm/),
  },
  {
    name: 'computes rcpps and rsqrtps of what is denormal, and results that are',
    right: 'manual, RCPPS and RSQRTPS: they are zeros; and the host',
    applies: (difference) => is(difference, /^(rcp|rsqrt)[ps]s$/) && onlyOf(difference, /^xmm/),
  },
  {
    name: 'reads the destination after it is written, where it is the source, too',
    right: 'manual, PHADD and PHSUB: every sum is of the operands as they were',
    applies: (difference) => is(difference, /^ph(add|sub)/) && onlyOf(difference, /^[xy]mm/),
  },
  {
    name: 'reads 4 bytes for an operand of 2 of movsxd',
    right: 'manual, MOVSXD: r16, r/m16',
    applies: (difference) => is(difference, /^movsxd$/) && endsAs(difference.judge, 'page fault'),
  },
  {
    name: 'reads 16 bytes for roundss, roundsd, cvtdq2pd and cvtps2pd',
    right: 'manual, ROUNDSS: an operand of 4 bytes, and of 8 for the others',
    applies: (difference) =>
      is(difference, /^(rounds[sd]|cvt(dq|ps)2pd)$/) && endsAs(difference.judge, 'page fault'),
  },
  {
    name: 'writes the upper half of a register of 32 bits that is not written',
    right: 'both: the manual leaves it open; processors keep it',
    applies: (difference) => is(difference, /^(bsf|bsr|cmpxchg)$/) && onlyOf(difference, /^r/),
  },
  {
    name: 'changes registers before the write of cmpxchg8b and cmpxchg16b that faults',
    right: 'manual 6.5: an instruction that faults has changed nothing',
    applies: (difference) => is(difference, /^cmpxchg(8|16)b$/) && hasFaulted(difference),
  },
];

export const HOST_ANSWERS_OTHERWISE: readonly Known[] = [
  {
    name: 'has descriptors that the machine does not have',
    right: "both: the table of descriptors is the system's",
    applies: (difference) =>
      is(difference, /^(lar|lsl|verr|verw)$/) && zeroFlag(difference.judge) && !zeroFlag(difference.subject),
  },
  {
    name: 'reads 6 bytes for m16:64, as AMD has it',
    right: 'the core: manual, LSS, CALL and JMP: an offset of 64 bits with REX.W',
    applies: isWideFarPointer,
  },
  {
    name: 'goes to code of 32 bits, which no program of the machine is',
    right: 'both: the machine executes code of 64 bits alone',
    applies: (difference) =>
      (difference.one.form.facts & FLOW_MASK) === FLOW_FAR &&
      endsAs(difference.subject, 'exception') &&
      (difference.judge?.regs[REG.rsp] ?? 0n) >> 32n === 0n,
  },
  {
    name: 'has no no-op of 0f 0d with a register, as AMD has it',
    right: 'the core: manual, table A-3: a reserved no-op',
    applies: (difference) =>
      is(difference, /^reservednop$/) && endsAs(difference.judge, 'undefined instruction'),
  },
  {
    name: 'has bit 17 of MXCSR, as AMD has it',
    right: "the core: manual, FXSAVE: MXCSR_MASK is the processor's own",
    applies: (difference) => is(difference, /^fxsave/) && onlyOf(difference, /^memory \S+ 00(\w+) \/ 02\1$/),
  },
  {
    name: 'reports another byte of an image of registers',
    right: 'both: the manual leaves open which of the bytes that fault is reported',
    applies: (difference) => {
      const [ours, theirs] = [faultOf(difference.subject), faultOf(difference.judge)];
      const isWithin = ours && theirs && theirs.addr - ours.addr > 0n && theirs.addr - ours.addr < 512n;
      return is(difference, /^fx(save|rstor)/) && isWithin === true && onlyOf(difference, /^stop/);
    },
  },
  {
    name: 'has memory in the upper half, which is the host kernel',
    right: 'both: what is mapped there is not the same',
    applies: (difference) => {
      const fault = faultOf(difference.subject);
      return fault !== undefined && fault.addr >> 47n === 0x1ffffn && onlyOf(difference, /^stop/);
    },
  },
  {
    name: 'has the flags of a process: interrupts enabled, the trap flag of the judge',
    right: 'both: neither is a flag that a form computes',
    applies: (difference) => is(difference, /^pushf/) && onlyOf(difference, /^memory/),
  },
  {
    name: 'has pushed frame pointers before enter faults',
    right: 'both: they are below the stack pointer, which has not moved',
    applies: (difference) =>
      is(difference, /^enter$/) && !endsAs(difference.judge, 'budget') && onlyOf(difference, /^memory/),
  },
  {
    name: 'lets no process ask for an interrupt by its number, and has traced the instruction by int1',
    right: 'both: it is the gate in the table of interrupts that decides',
    applies: (difference) => is(difference, /^int1?$/),
  },
  {
    name: 'reads 4 bytes for an operand of 2 of movsxd, as AMD has it',
    right: 'the core: manual, MOVSXD: r16, r/m16',
    applies: (difference) => is(difference, /^movsxd$/) && endsAs(difference.judge, 'page fault'),
  },
  {
    name: 'reports the other of the two operands of cmps that both fault',
    right: 'both: the manual leaves their order open',
    applies: (difference) =>
      is(difference, /^cmps[bwdq]$/) &&
      endsAs(difference.subject, 'page fault') &&
      endsAs(difference.judge, 'page fault') &&
      onlyOf(difference, /^stop/),
  },
  {
    name: 'reports the stack of a call before its target, which is not canonical',
    right: 'both: the manual leaves their order open',
    applies: (difference) =>
      is(difference, /^call$/) && hasFaulted(difference) && faultOf(difference.judge)?.access === 'write',
  },
  {
    name: 'does not ask for alignment of 16 bytes in SHA',
    right:
      'the core: manual, SHA1RNDS4 and its like, exceptions of type 4; another processor than this host may',
    applies: (difference) => is(difference, /^sha(1|256)/) && endsAs(difference.subject, 'exception'),
  },
  {
    name: 'asks for no alignment where a mask has no element that is accessed',
    right: 'the core: manual 2.8, exceptions of type E1; another processor than this host may',
    applies: (difference) =>
      is(difference, /^vmov(ap[sd]|dqa(32|64))$/) &&
      difference.one.form.registers === 'zmm' &&
      endsAs(difference.subject, 'exception') &&
      endsAs(difference.judge, 'budget'),
  },
  {
    name: 'reports the first byte of the page that an operand under a mask runs into',
    right: 'both: the manual leaves open which of the bytes that fault is reported',
    applies: (difference) => {
      const [ours, theirs] = [faultOf(difference.subject), faultOf(difference.judge)];
      const samePage = ours && theirs && ours.addr / 4096n === theirs.addr / 4096n;
      const first = samePage && ours.access === theirs.access && theirs.addr % BigInt(PAGE_SIZE) === 0n;
      return difference.one.form.registers === 'zmm' && first === true && onlyOf(difference, /^stop/);
    },
  },
  {
    name: 'reports the first byte of what maskmovdqu may write',
    right: 'both: the manual leaves the address open',
    applies: (difference) => is(difference, /^v?maskmovdqu$/) && faultOf(difference.judge) !== undefined,
  },
];

/** What of these it is a case of. */
export const knownAs = (table: readonly Known[], difference: Difference): Known | undefined =>
  table.find((known) => known.applies(difference));
