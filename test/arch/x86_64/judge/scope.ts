// Forms that random states say nothing of, with the reason: what they do is not in registers and memory, or depends on
// the processor that is described. Everything else is judged.

import {
  FLOW_FAR,
  FLOW_HLT,
  FLOW_IRET,
  FLOW_MASK,
  FLOW_SYSCALL,
  FLOW_SYSRET,
} from '../../../../src/isa/decoder.ts';
import { EVEX_IN_MODULES, isInCorpus } from './corpus.ts';
import type { Form } from './form.ts';

const words = (text: string): string[] => text.trim().split(/\s+/);

/** Of forms that a test compares with the host from some tens of states each. */
export const FEW_STATES = {
  avx: 'what VEX begins and no module of a kernel contains: where it is executed, few states are compared with the host',
  avx512:
    'what EVEX begins and no module of a kernel contains, as far as it is executed: few states are compared with the host',
} as const;

/** Reason by mnemonics. */
const REASONS: readonly (readonly [reason: string, mnemonics: string])[] = [
  ['input and output: a device answers', 'in out insb insd insw outsb outsd outsw'],
  [
    'changes the state of the machine: descriptor tables, control registers, MSRs',
    `sldt str lldt ltr verr verw lkgs sgdt sidt lgdt lidt smsw lmsw invlpg wrmsrns wrmsr rdmsr rdmsrlist wrmsrlist
     xgetbv xsetbv swapgs clts invd wbinvd wbnoinvd rdpmc rdfsbase rdgsbase wrfsbase wrgsbase invpcid lar lsl rsm
     lss lfs lgs cli sti clac stac rdpkru wrpkru fxsave fxrstor fxsave64 fxrstor64 xsave xrstor xsave64 xrstor64
     xsaveopt xsaveopt64 xsavec xsavec64 xsaves xsaves64 xrstors xrstors64 ldmxcsr stmxcsr vldmxcsr vstmxcsr emms femms`,
  ],
  [
    'its result depends on time, chance or the processor',
    'rdtsc rdtscp rdrand rdseed rdpid rdpru cpuid serialize',
  ],
  [
    'waits, or hints to a processor with caches',
    'monitor mwait monitorx mwaitx tpause umonitor umwait clflush clflushopt clwb clzero cldemote ptwrite mcommit hreset',
  ],
  [
    'of virtual machines: no processor that is described has them',
    `enclv enclu encls vmcall vmlaunch vmresume vmxoff vmfunc vmrun vmmcall vmload vmsave stgi clgi skinit invlpga
     invlpgb tlbsync vmgexit vmptrld vmptrst vmclear vmxon vmread vmwrite invept invvpid tdcall seamret seamops seamcall
     rmpquery rmpadjust psmash rmpupdate pvalidate pconfig pbndkb`,
  ],
  [
    'of extensions that no processor that is described has',
    `xabort xbegin xend xtest rstorssp setssbsy saveprevssp clrssbsy incsspd incsspq rdsspd rdsspq wrussd wrussq wrssd
     wrssq eretu erets uiret testui clui stui senduipi xsusldtrk xresldtrk movdir64b movdiri enqcmds enqcmd aadd aand
     axor aor aesencwide128kl aesdecwide128kl aesencwide256kl aesdecwide256kl aesenc128kl aesdec128kl aesenc256kl
     aesdec256kl loadiwkey encodekey128 encodekey256 xsha1 xsha256 xsha512 xsha512_alt ccs_hash undoc xstore xstore_alt
     xcryptecb xcryptcbc xcryptctr xcryptcfb xcryptofb ccs_encrypt getsec extrq insertq movntss movntsd prefetchwt1
     prefetchit0 prefetchit1 gf2p8mulb gf2p8affineqb gf2p8affineinvqb reservednop`,
  ],
];

const BY_MNEMONIC = new Map(
  REASONS.flatMap(([reason, mnemonics]) =>
    words(mnemonics).map((mnemonic): [string, string] => [mnemonic, reason]),
  ),
);

const BY_FLOW: ReadonlyMap<number, string> = new Map([
  [FLOW_HLT, 'waits for an interrupt'],
  [FLOW_SYSCALL, 'enters the kernel'],
  [FLOW_SYSRET, 'leaves the kernel'],
  [FLOW_IRET, 'leaves an interrupt'],
  [FLOW_FAR, 'goes to another code segment'],
]);

/** Why no random states are judged; undefined where they are. */
export function unjudgedBecause(form: Form): string | undefined {
  const { key, mnemonic, facts, opcode, registers, vex } = form;
  if (!vex && isX87(opcode)) return 'x87: nothing of the kernel computes with it';
  if (registers === 'mm')
    return 'MMX: nothing of the kernel computes with it, and kvm alone moves its registers, for guests';
  if (registers === 'other') return 'names a segment, control or debug register';
  if (/^v(ld|st)mxcsr$/.test(mnemonic)) return BY_MNEMONIC.get(mnemonic);
  if (vex?.length !== undefined && !EVEX_IN_MODULES.has(key)) return FEW_STATES.avx512;
  if (vex !== undefined && vex.length === undefined && !isInCorpus(key)) return FEW_STATES.avx;
  const byFlow = BY_FLOW.get(facts & FLOW_MASK);
  if (byFlow) return byFlow;
  if (opcode.length === 2 && (opcode[1] & 0xf6) === 0xa0 && (mnemonic === 'push' || mnemonic === 'pop')) {
    return 'names a segment, control or debug register';
  }
  return BY_MNEMONIC.get(mnemonic);
}

const isX87 = (opcode: readonly number[]): boolean =>
  opcode.length === 1 && ((opcode[0] >= 0xd8 && opcode[0] <= 0xdf) || opcode[0] === 0x9b);

/** Executing it, Unicorn ends the process or reads memory of its own; or it has nothing of the kind. */
export const isBeyondUnicorn = ({ mnemonic, vex }: Form): boolean =>
  vex !== undefined || /^pcmp[ei]str[im]/.test(mnemonic);
