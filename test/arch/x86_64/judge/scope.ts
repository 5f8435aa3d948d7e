// Which states of a form random ones can be: of both rings, of one, or none, with the reason. What a form does in a ring
// that no random state is of, and that the core does something there at all, tests of its own say.

import { FLOW_FAR, FLOW_MASK, FLOW_SYSCALL } from '../../../../src/isa/decoder.ts';
import type { Form } from './form.ts';

const words = (text: string): string[] => text.trim().split(/\s+/);

/** Why no state says anything, by mnemonics. */
const REASONS: readonly (readonly [reason: string, mnemonics: string])[] = [
  [
    'executed, and its result is what the processor is said to be, or the time: test/arch/x86_64/core/machine_instructions.test.ts',
    'rdtsc rdtscp cpuid',
  ],
  [
    'executed; the system of the host does it for a process, and in ring 0 it tells what the machine is made of: test/arch/x86_64/core/machine_instructions.test.ts',
    'str sgdt sidt smsw',
  ],
  [
    '#UD: cpuid does not tell of it, or CR4 lacks it',
    `lkgs wrmsrns rdmsrlist wrmsrlist xgetbv xsetbv rdpkru wrpkru rdfsbase rdgsbase wrfsbase wrgsbase invpcid femms rsm
     rdrand rdseed rdpid rdpru serialize monitor mwait monitorx mwaitx clzero mcommit ptwrite tpause umonitor umwait
     hreset`,
  ],
  [
    '#UD, of virtual machines: no processor that is described has them',
    `enclv enclu encls vmcall vmlaunch vmresume vmxoff vmfunc vmrun vmmcall vmload vmsave stgi clgi skinit invlpga
     invlpgb tlbsync vmgexit vmptrld vmptrst vmclear vmxon vmread vmwrite invept invvpid tdcall seamret seamops seamcall
     rmpquery rmpadjust psmash rmpupdate pvalidate pconfig pbndkb`,
  ],
  [
    '#UD, of extensions that no processor that is described has',
    `xabort xbegin xend xtest rstorssp setssbsy saveprevssp clrssbsy incsspd incsspq wrussd wrussq wrssd
     wrssq eretu erets uiret testui clui stui senduipi xsusldtrk xresldtrk movdir64b movdiri enqcmds enqcmd aadd aand
     axor aor aesencwide128kl aesdecwide128kl aesencwide256kl aesdecwide256kl aesenc128kl aesdec128kl aesenc256kl
     aesdec256kl loadiwkey encodekey128 encodekey256 xsha1 xsha256 xsha512 xsha512_alt ccs_hash undoc xstore xstore_alt
     xcryptecb xcryptcbc xcryptctr xcryptcfb xcryptofb ccs_encrypt getsec extrq insertq movntss movntsd
     gf2p8mulb gf2p8affineqb gf2p8affineinvqb`,
  ],
];

/** Of which only one ring says anything, by mnemonics; the reason is of the other. */
const IN_ONE_RING: readonly (readonly [ring: 0 | 3, reason: string, mnemonics: string])[] = [
  [
    3,
    'ring 0: it sets registers of the machine, asks them, or waits: test/arch/x86_64/core/machine_instructions.test.ts',
    'lldt ltr lgdt lidt lmsw invd wrmsr rdmsr rdpmc hlt',
  ],
  [
    3,
    'ring 0: it leaves an interrupt or the kernel: test/arch/x86_64/core/machine_instructions.test.ts',
    'iretq sysretq',
  ],
  [3, 'ring 0: #UD, and #GP for sysret: no kernel of 64 bits executes it', 'iretd iret sysret'],
  [
    0,
    'ring 3: the host saves more than the processor that is described has',
    'xsave xsave64 xrstor xrstor64 xsaveopt xsaveopt64 xsavec xsavec64 xsaves xsaves64 xrstors xrstors64',
  ],
  [0, 'ring 3: the system of the host does it for a process', 'sldt'],
];
const CONTROL = IN_ONE_RING[0];

interface OneRing {
  readonly ring: 0 | 3;
  readonly reason: string;
}

/** What the machine is beside registers, flags and memory: no sequence has it, and each state begins with it anew. */
const OF_MACHINE = `cli sti stac clac swapgs lar lsl verr verw clts wbinvd wbnoinvd invlpg emms fxsave fxrstor fxsave64 fxrstor64
  ldmxcsr stmxcsr vldmxcsr vstmxcsr clflush clflushopt clwb cldemote lss lfs lgs in out insb insw insd outsb outsw outsd
  wait fldcw fnstcw fnclex fninit fnstsw prefetchwt1 prefetchit0 prefetchit1 reservednop rdsspd rdsspq retf`;

function byMnemonic<T>(rows: readonly (readonly [T, string])[]): ReadonlyMap<string, T> {
  return new Map(
    rows.flatMap(([value, mnemonics]) => words(mnemonics).map((one): [string, T] => [one, value])),
  );
}

const REASON_OF = byMnemonic(REASONS);
const RING_OF = byMnemonic(
  IN_ONE_RING.map(([ring, reason, mnemonics]): [OneRing, string] => [{ ring, reason }, mnemonics]),
);
const MACHINE = new Set([...words(OF_MACHINE), ...RING_OF.keys()]);
/** fnstsw and its like: what of x87 has no number in it. */
const X87_CONTROL = new Set(words('wait fldcw fnstcw fnclex fninit fnstsw'));

/** Why no random states are judged; undefined where they are. */
export function unjudgedBecause({ mnemonic, facts, opcode, registers, vex }: Form): string | undefined {
  if (!vex && isX87(opcode) && !X87_CONTROL.has(mnemonic))
    return '#UD, x87: nothing of the kernel computes with it';
  if (registers === 'mm')
    return '#UD, MMX: nothing of the kernel computes with it, and kvm alone moves its registers, for guests';
  if (vex && !vex.executed)
    return '#UD, of VEX: cpuid does not tell of it, and no module of a kernel contains it';
  const flow = facts & FLOW_MASK;
  if (flow === FLOW_SYSCALL && mnemonic === 'syscall')
    return 'executed: enters the kernel: test/guest/cpu.test.ts';
  if (mnemonic === 'sysenter' || mnemonic.startsWith('sysexit'))
    return '#UD: no kernel of 64 bits has programs of 32';
  return REASON_OF.get(mnemonic);
}

/** The only ring that states are of, and why there are none of the other; undefined for both. */
export function onlyRing(form: Form): OneRing | undefined {
  if (isOfControlRegister(form)) return { ring: 3, reason: CONTROL[1] };
  return RING_OF.get(form.mnemonic);
}

const isOfControlRegister = ({ registers, name }: Form): boolean =>
  registers === 'other' && /\b(cr|dr)\b/.test(name);

/** It sets or asks what of the machine is no general or vector register. */
export const isOfMachine = (form: Form): boolean =>
  MACHINE.has(form.mnemonic) ||
  (form.registers === 'other' && !form.vex) ||
  (form.facts & FLOW_MASK) === FLOW_FAR ||
  isOfSegment(form);

/** push and pop of fs and gs: their operand is in no ModRM. */
const isOfSegment = ({ opcode, mnemonic, vex }: Form): boolean =>
  !vex && opcode.length === 2 && (opcode[1] & 0xf6) === 0xa0 && (mnemonic === 'push' || mnemonic === 'pop');

const isX87 = (opcode: readonly number[]): boolean =>
  opcode.length === 1 && ((opcode[0] >= 0xd8 && opcode[0] <= 0xdf) || opcode[0] === 0x9b);

/** Executing it, Unicorn ends the process or reads memory of its own; or it has nothing of the kind. */
export const isBeyondUnicorn = (form: Form): boolean =>
  form.vex !== undefined ||
  /^pcmp[ei]str[im]/.test(form.mnemonic) ||
  (form.facts & FLOW_MASK) === FLOW_FAR ||
  onlyRing(form)?.ring === 3;
