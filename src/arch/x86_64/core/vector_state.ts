// The state of vector registers as a whole: LDMXCSR, STMXCSR, FXSAVE, FXRSTOR, XSAVE, XRSTOR. Intel SDM volume 1, 10.5 and
// 13.4 to 13.12; the components are x87, SSE and AVX.

import { STOP_PROTECTION } from './kinds';
import { LANE, MXCSR, SAVE_IMAGE, STOP, STOP_CODE, VECTOR_REGISTER, X87, X87_SIZE, ZMM } from './layout';
import { a, address, c, imm, RAX, RDX } from './state';
import { V_FXRSTOR, V_FXSAVE, V_LDMXCSR, V_STMXCSR, V_XSAVE } from './vector_kinds';
import { aligned, readBytes, writable, writeBytes } from './vector_memory';

/** Bits of MXCSR that there are. */
const MXCSR_MASK: u32 = 0xffff;
const MXCSR_RESET: u32 = 0x1f80;
/** In an image. */
const AT_MXCSR: u32 = 24;
const AT_XMM: u32 = 160;
const END_OF_XMM: u32 = 416;
/** What FXSAVE and FXRSTOR access, though the rest is nobody's. */
const IMAGE: u32 = 512;
const AT_HEADER: u32 = 512;
const AT_YMM: u32 = 576;
const END_OF_YMM: u32 = 832;
/** Components. */
const FPU: u64 = 1;
const SSE: u64 = 2;
const AVX: u64 = 4;
const COMPACTED: u64 = <u64>1 << 63;

/** @returns false after a fault */
export function state(kind: i32, op: u32): bool {
  switch (kind) {
    case V_LDMXCSR:
      if (imm(op) != 0) {
        loadControl(load<u32>(c(op)));
        return true;
      }
      if ((load<u32>(c(op)) & ~MXCSR_MASK) != 0) return protectionFault();
      store<u32>(MXCSR, load<u32>(c(op)));
      return true;
    case V_STMXCSR:
      store<u64>(a(op), load<u32>(MXCSR));
      return true;
    case V_FXSAVE: return fxsave(address(op));
    case V_FXRSTOR: return fxrstor(address(op));
    case V_XSAVE: return xsave(address(op), imm(op) != 0);
    default: return xrstor(address(op));
  }
}

/** Of x87: bit 6 is one always, and bits that are reserved zero. */
function loadControl(word: u32): void {
  store<u16>(X87, <u16>((word & 0x1f3f) | 0x40));
}

function protectionFault(): bool {
  store<u32>(STOP, STOP_PROTECTION);
  store<u32>(STOP_CODE, 0);
  return false;
}

function makeImage(): void {
  memory.copy(SAVE_IMAGE, X87, X87_SIZE);
  store<u32>(SAVE_IMAGE + AT_MXCSR, load<u32>(MXCSR));
  store<u32>(SAVE_IMAGE + AT_MXCSR + 4, MXCSR_MASK);
  for (let i: u32 = 0; i < 16; i++) memory.copy(SAVE_IMAGE + AT_XMM + 16 * i, ZMM + i * VECTOR_REGISTER, 16);
}

function fxsave(va: u64): bool {
  if (!aligned(va, 16) || !writable(va, IMAGE)) return false;
  makeImage();
  return writeBytes(va, END_OF_XMM, SAVE_IMAGE);
}

function fxrstor(va: u64): bool {
  if (!aligned(va, 16) || !readBytes(va, IMAGE, SAVE_IMAGE)) return false;
  if ((load<u32>(SAVE_IMAGE + AT_MXCSR) & ~MXCSR_MASK) != 0) return protectionFault();
  takeFpu(true);
  takeSse(true);
  store<u32>(MXCSR, load<u32>(SAVE_IMAGE + AT_MXCSR));
  return true;
}

function takeFpu(there: bool): void {
  if (there) {
    memory.copy(X87, SAVE_IMAGE, X87_SIZE);
    loadControl(load<u16>(SAVE_IMAGE));
  } else {
    memory.fill(X87, 0, X87_SIZE);
    store<u16>(X87, 0x37f);
  }
}
function takeSse(there: bool): void {
  for (let i: u32 = 0; i < 16; i++) {
    const to = ZMM + i * VECTOR_REGISTER;
    if (there) memory.copy(to, SAVE_IMAGE + AT_XMM + 16 * i, 16);
    else memory.fill(to, 0, 16);
  }
}

/** The components that edx:eax asks for, of those that there are. */
function requested(): u64 {
  return (<u64>load<u32>(RAX) | (load<u64>(RDX) << 32)) & (FPU | SSE | AVX);
}

/** XSAVE, XSAVEOPT; XSAVEC and XSAVES, whose place for AVX is the same, as nothing else is before it */
function xsave(va: u64, compacts: bool): bool {
  const wanted = requested();
  if (!aligned(va, 64) || !readBytes(va + AT_HEADER, 8, LANE)) return false;
  const size = (wanted & AVX) != 0 ? END_OF_YMM : AT_HEADER + 16;
  if (!writable(va, size)) return false;
  makeImage();
  if ((wanted & FPU) != 0) {
    writeBytes(va, AT_MXCSR, SAVE_IMAGE);
    writeBytes(va + 32, X87_SIZE - 32, SAVE_IMAGE + 32);
  }
  if ((wanted & (SSE | AVX)) != 0) writeBytes(va + AT_MXCSR, 8, SAVE_IMAGE + AT_MXCSR);
  if ((wanted & SSE) != 0) writeBytes(va + AT_XMM, END_OF_XMM - AT_XMM, SAVE_IMAGE + AT_XMM);
  for (let i: u32 = 0; (wanted & AVX) != 0 && i < 16; i++)
    writeBytes(va + AT_YMM + 16 * i, 16, ZMM + i * VECTOR_REGISTER + 16);
  store<u64>(LANE, compacts ? wanted : (load<u64>(LANE) & ~wanted) | wanted);
  store<u64>(LANE + 8, compacts ? COMPACTED | wanted : 0);
  return writeBytes(va + AT_HEADER, compacts ? 16 : 8, LANE);
}

/** XRSTOR, XRSTORS: what is asked for and not there becomes as after a reset */
function xrstor(va: u64): bool {
  const wanted = requested();
  if (!aligned(va, 64) || !readBytes(va + AT_HEADER, 64, SAVE_IMAGE + AT_HEADER)) return false;
  const there = load<u64>(SAVE_IMAGE + AT_HEADER);
  const compaction = load<u64>(SAVE_IMAGE + AT_HEADER + 8);
  const all = FPU | SSE | AVX;
  if ((there & ~all) != 0 || (compaction & ~(COMPACTED | all)) != 0) return protectionFault();
  if (compaction != 0 && (there & ~compaction) != 0) return protectionFault();
  if (!readBytes(va, END_OF_XMM, SAVE_IMAGE)) return false;
  const hasAvx = (wanted & there & AVX) != 0;
  if (hasAvx && !readBytes(va + AT_YMM, 256, SAVE_IMAGE + AT_YMM)) return false;
  if ((wanted & (SSE | AVX)) != 0) {
    const mxcsr = load<u32>(SAVE_IMAGE + AT_MXCSR);
    if ((mxcsr & ~MXCSR_MASK) != 0) return protectionFault();
    store<u32>(MXCSR, compaction != 0 && (there & (SSE | AVX)) == 0 ? MXCSR_RESET : mxcsr);
  }
  if ((wanted & FPU) != 0) takeFpu((there & FPU) != 0);
  if ((wanted & SSE) != 0) takeSse((there & SSE) != 0);
  for (let i: u32 = 0; (wanted & AVX) != 0 && i < 16; i++) {
    const to = ZMM + i * VECTOR_REGISTER + 16;
    if (hasAvx) memory.copy(to, SAVE_IMAGE + AT_YMM + 16 * i, 16);
    else memory.fill(to, 0, 16);
  }
  return true;
}
