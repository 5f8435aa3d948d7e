// The code that src/check writes for x86_64: stubs that load, store and keep all registers, and what stands between
// the instructions of a piece. See src/arch/code_writer.ts for what each must guarantee.

import { OPCODE } from '../../../isa/opcodes.ts';
import type { CodeWriter, StubPlaces, WrittenCode } from '../../code_writer.ts';
import { REG } from '../context.ts';

const REGISTERS = 16;
const REX_W = 0x48;
const REX_WR = 0x4c;
const [STORE, LOAD, MOV_IMM, PUSH_IMM, HLT] = [0x89, 0x8b, 0xb8, 0x68, 0xf4];
/** jmp [rip + distance] */
const JUMP_VIA = [0xff, 0x25];

/** mov between a register and memory at a distance from rip. */
function move(
  { bytes, view, address }: WrittenCode,
  at: number,
  opcode: number,
  reg: number,
  to: number,
): number {
  bytes[at] = reg >= 8 ? REX_WR : REX_W;
  bytes[at + 1] = opcode;
  bytes[at + 2] = ((reg & 7) << 3) | 5;
  view.setInt32(at + 3, to - (address + at + 7), true);
  return at + 7;
}

/** mov between a register and memory at a distance from rax. */
function moveByRax(
  { bytes, view }: WrittenCode,
  at: number,
  opcode: number,
  reg: number,
  distance: number,
): number {
  bytes[at] = reg >= 8 ? REX_WR : REX_W;
  bytes[at + 1] = opcode;
  bytes[at + 2] = 0x80 | ((reg & 7) << 3);
  view.setInt32(at + 3, distance, true);
  return at + 7;
}

function jump({ bytes, view, address }: WrittenCode, at: number, to: number): number {
  bytes[at] = OPCODE.JMP32;
  view.setInt32(at + 1, to - (address + at + 5), true);
  return at + 5;
}

function jumpVia({ bytes, view, address }: WrittenCode, at: number, place: number): void {
  bytes.set(JUMP_VIA, at);
  view.setInt32(at + 2, place - (address + at + 6), true);
}

function stubs(places: StubPlaces, size: number): Uint8Array {
  const bytes = new Uint8Array(size).fill(HLT);
  const code = { bytes, view: new DataView(bytes.buffer), address: places.stubs };
  let at = 0;
  for (let r = 0; r < REGISTERS; r++) at = move(code, at, LOAD, r, places.area + 8 * r);
  jumpVia(code, at, places.start);
  at = places.out - places.stubs;
  for (let r = 0; r < REGISTERS; r++) at = move(code, at, STORE, r, places.area + 8 * r);
  // The engine forgets what it translated with the end in it, after each run: that is to be no more than this jump.
  jump(code, at, places.until);
  keepStub(code, places);
  return bytes;
}

/** rax points to where they are kept; rax itself is in the first word of the scratch. */
function keepStub(code: WrittenCode, { keep, stubs: start, scratch: [rax, back] }: StubPlaces): void {
  let at = keep - start;
  for (let r = 1; r < REGISTERS; r++) at = moveByRax(code, at, STORE, r, 8 * r);
  at = move(code, at, LOAD, REG.rcx, rax);
  at = moveByRax(code, at, STORE, REG.rcx, 8 * REG.rax);
  at = moveByRax(code, at, LOAD, REG.rcx, 8 * REGISTERS);
  at = move(code, at, STORE, REG.rcx, back);
  at = moveByRax(code, at, LOAD, REG.rcx, 8 * REG.rcx);
  at = moveByRax(code, at, LOAD, REG.rax, 8 * REG.rax);
  jumpVia(code, at, back);
}

export const CODE_WRITER: CodeWriter = {
  stubs,
  jump,
  store: (code, at, register, to) => move(code, at, STORE, register, to),
  keep: (code, at, places, slot) => {
    const next = move(code, at, STORE, REG.rax, places.scratch[0]);
    code.bytes[next] = MOV_IMM;
    code.view.setInt32(next + 1, slot, true);
    return jump(code, next + 5, places.keep);
  },
  push: ({ bytes, view }, at, value) => {
    bytes[at] = PUSH_IMM;
    view.setInt32(at + 1, value | 0, true);
    return at + 5;
  },
  // lea rsp, [rsp + size]
  takeOff: ({ bytes }, at, size) => {
    bytes.set([REX_W, 0x8d, 0x64, 0x24, size], at);
    return at + 5;
  },
  jumpOn: Uint8Array.of(OPCODE.JMP8, 0),
  // mov eax, value; then mov of eax to the others.
  clobber: (registers, value) => {
    const bytes = [MOV_IMM, 0, 8, 16, 24].map((what, i) => (i === 0 ? what : (value >> what) & 0xff));
    for (const reg of registers) {
      if (reg !== REG.rax) bytes.push(reg >= 8 ? 0x41 : 0x40, STORE, 0xc0 | (reg & 7));
    }
    return Uint8Array.from(bytes);
  },
  redirect: ({ view, address }, end, fromEnd, to) => {
    view.setInt32(end - fromEnd, to - (address + end), true);
  },
};
