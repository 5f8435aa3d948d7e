// Instructions of compiled code as objtool knows them. Mirrors tools/objtool/arch/x86/decode.c and special.c.

import {
  CLEARS_DF,
  decodeAt,
  FLOW_CALL,
  FLOW_CALL_INDIRECT,
  FLOW_FAR,
  FLOW_INT3,
  FLOW_IRET,
  FLOW_JCC,
  FLOW_JMP,
  FLOW_JMP_INDIRECT,
  FLOW_NEXT,
  FLOW_RET,
  FLOW_SYSCALL,
  FLOW_SYSRET,
  FLOW_UD2,
  Insn,
  MAX_LENGTH,
  NO_INDEX,
  NOP,
  SETS_DF,
  STACK,
  STACK_MASK,
} from '../../../isa/decoder.ts';
import {
  type CodeArch,
  type CodeDecoder,
  INSN_BUG,
  INSN_CALL,
  INSN_CALL_DYNAMIC,
  INSN_CLD,
  INSN_CONTEXT_SWITCH,
  INSN_JUMP,
  INSN_JUMP_CONDITIONAL,
  INSN_JUMP_DYNAMIC,
  INSN_NOP,
  INSN_OTHER,
  INSN_RETURN,
  INSN_STD,
  INSN_TRAP,
  OP_ADD,
  opCode,
} from '../../code.ts';
import { ENDBR64 } from '../insn.ts';
import { R_X86_64_32S, R_X86_64_64, R_X86_64_PC32, R_X86_64_PLT32 } from '../module/relocation.ts';
import { Constants } from './constants.ts';
import { fillingBefore } from './filling.ts';
import { operands } from './operands.ts';
import { ORC } from './orc.ts';
import { ORIGINS } from './origins.ts';
import { HINT_BASES, REGISTERS, SP } from './registers.ts';
import { stackOp, stackOpOffset } from './stack_op.ts';

/** By flow of the decoder; undefined where the opcode decides. */
const FLOW_TYPES: number[] = [];
FLOW_TYPES[FLOW_CALL] = INSN_CALL;
FLOW_TYPES[FLOW_CALL_INDIRECT] = INSN_CALL_DYNAMIC;
FLOW_TYPES[FLOW_JMP] = INSN_JUMP;
FLOW_TYPES[FLOW_JCC] = INSN_JUMP_CONDITIONAL;
FLOW_TYPES[FLOW_JMP_INDIRECT] = INSN_JUMP_DYNAMIC;
FLOW_TYPES[FLOW_RET] = INSN_RETURN;
FLOW_TYPES[FLOW_IRET] = INSN_CONTEXT_SWITCH;
FLOW_TYPES[FLOW_SYSCALL] = INSN_CONTEXT_SWITCH;
FLOW_TYPES[FLOW_SYSRET] = INSN_CONTEXT_SWITCH;
FLOW_TYPES[FLOW_INT3] = INSN_TRAP;
FLOW_TYPES[FLOW_UD2] = INSN_BUG;

function insnType({ facts, flow }: Insn): number {
  if (flow === FLOW_NEXT) {
    if ((facts & (NOP | SETS_DF | CLEARS_DF)) === 0) return INSN_OTHER;
    if (facts & NOP) return INSN_NOP;
    return facts & SETS_DF ? INSN_STD : INSN_CLD;
  }
  if (flow === FLOW_FAR) return (facts & STACK_MASK) === STACK.CALL ? INSN_CALL_DYNAMIC : INSN_CONTEXT_SWITCH;
  return FLOW_TYPES[flow] ?? INSN_OTHER;
}

/** `ud2` and a name, by which a hypervisor is asked to execute what follows: XEN_EMULATE_PREFIX, and KVM's. */
const EMULATE_PREFIXES = [
  Uint8Array.of(0x0f, 0x0b, 0x78, 0x65, 0x6e),
  Uint8Array.of(0x0f, 0x0b, 0x6b, 0x76, 0x6d),
];

function emulatePrefix(bytes: Uint8Array, offset: number): number {
  if (bytes[offset] !== 0x0f || bytes[offset + 1] !== 0x0b) return 0;
  return EMULATE_PREFIXES.find((prefix) => isAt(prefix, bytes, offset))?.length ?? 0;
}

/** erets, eretu: in processors without FRED the same bytes are clac, of which prefixes say nothing. */
const EVENT_RETURN = Uint8Array.of(0x0f, 0x01, 0xca);
const isEventReturn = (bytes: Uint8Array, offset: number): boolean =>
  (bytes[offset] === 0xf2 || bytes[offset] === 0xf3) && isAt(EVENT_RETURN, bytes, offset + 1);

class Decoder implements CodeDecoder {
  readonly #insn = new Insn();
  length = 0;
  type = INSN_OTHER;
  target = 0;
  op = 0;
  opOffset = 0;

  decode(bytes: Uint8Array, offset: number): void {
    const prefix = emulatePrefix(bytes, offset);
    const insn = decodeAt(bytes, offset + prefix, offset + prefix, this.#insn);
    this.length = insn.length === 0 ? 0 : insn.length + prefix;
    this.type = isEventReturn(bytes, offset) ? INSN_CONTEXT_SWITCH : insnType(insn);
    this.target = insn.target;
    this.op = stackOp(insn);
    this.opOffset = stackOpOffset;
  }
}

const VMRESUME = Uint8Array.of(0x0f, 0x01, 0xc3);
/** The five words that iret takes. */
const IRET_OP = { op: opCode(OP_ADD, SP, SP), offset: 40 };
/** 9 * 32 + 20 */
const X86_FEATURE_SMAP = 308;

const probe = new Insn();

const isAt = (wanted: Readonly<Uint8Array>, bytes: Uint8Array, at: number): boolean =>
  at >= 0 && wanted.every((byte, i) => bytes[at + i] === byte);

/** endbr64; mov $argument, %rdi; jmp callee */
const FORWARDER: CodeArch['forwarder'] = {
  bytes: Uint8Array.of(...ENDBR64, 0x48, 0xc7, 0xc7, 0, 0, 0, 0, 0xe9, 0, 0, 0, 0),
  argument: { offset: 7, type: R_X86_64_32S, addend: 0n },
  callee: { offset: 12, type: R_X86_64_PLT32, addend: -4n },
};

/** endbr64; jmp callee */
const RETURNER: CodeArch['returner'] = {
  bytes: Uint8Array.of(...ENDBR64, 0xe9, 0, 0, 0, 0),
  callee: { offset: 5, type: R_X86_64_PLT32, addend: -4n },
  by: '__x86_return_thunk',
};

const NO_BASE = 5;

/** A displacement beside a base or an index, and not an immediate behind it. */
function addsRegister(bytes: Uint8Array, offset: number, place: number): boolean {
  const insn = decodeAt(bytes, offset, offset, probe);
  if (!insn.hasModrm || insn.mod === 3 || insn.ripRelative) return false;
  if (place >= offset + insn.length - insn.immSize) return false;
  if (insn.mod !== 0) return true;
  return insn.hasSib && (insn.sibIndex !== NO_INDEX || (insn.sibBase & 7) !== NO_BASE);
}

export const CODE: CodeArch = {
  registers: REGISTERS,
  decoder: () => new Decoder(),
  longest: MAX_LENGTH,
  lengthAt: (bytes, offset) => decodeAt(bytes, offset, offset, probe).length,
  // sync_core() returns to itself with iret; elsewhere it is entry code.
  returnToSelf: (bytes, offset) =>
    decodeAt(bytes, offset, offset, probe).flow === FLOW_IRET ? IRET_OP : undefined,
  hintBase: (name) => HINT_BASES.get(name),
  orc: ORC,
  functionStart: (bytes, site) =>
    isAt(ENDBR64, bytes, site - ENDBR64.length) ? site - ENDBR64.length : site,
  fillingBefore,
  bug: 'ud2',
  isHypercall: (bytes, offset) => decodeAt(bytes, offset, offset, probe).flow === FLOW_SYSCALL,
  constants: (current) => new Constants(current),
  origins: ORIGINS,
  isGuestEntry: (bytes, offset) => isAt(VMRESUME, bytes, offset),
  userAccessFeature: X86_FEATURE_SMAP,
  // It counts from its own field, and the address from the instruction's end.
  operandBias: (relocation) => (relocation === R_X86_64_PC32 ? 4 : 0),
  operands,
  branchBytes: (bytes, offset) => {
    const { flow, immSize } = decodeAt(bytes, offset, offset, probe);
    return flow === FLOW_CALL || flow === FLOW_JMP || flow === FLOW_JCC ? immSize : 0;
  },
  addsRegister: (bytes, offset, place) => addsRegister(bytes, offset, place),
  trapByte: 0xcc,
  forwarder: FORWARDER,
  returner: RETURNER,
  distance: R_X86_64_PC32,
  wholeAddress: R_X86_64_64,
};
