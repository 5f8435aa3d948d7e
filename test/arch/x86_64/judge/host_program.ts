// The program in which the processor of this computer is the judge: an ELF file of our own, without a library, whose
// segments are the areas of ring 3 at their own addresses. It reads cases and writes what became of them.
//
// A case is executed by returning from a signal: the kernel loads every register from the frame, with the trap flag
// set; what comes after one instruction, SIGTRAP or the signal of a fault, is where the outcome is read and the next
// case is put in. A case that ends the process harms nobody else.

import { chmodSync, writeFileSync } from 'node:fs';
import { assembleSnippet } from '../../../../src/arch/x86_64/asm/assembler.ts';
import { PAGE_SIZE } from '../../../../src/guest/memory.ts';
import { WINDOW } from './cases.ts';
import { areasOf, initialBytes, SEGMENTS, USER, WRITABLE } from './layout.ts';

/** Bytes of a case, and where in it what is. */
export const RECORD = {
  bytes: 0xe00,
  regs: 0,
  trap: 0x90,
  error: 0x98,
  address: 0xa0,
  /** Not 0: again and again, until RIP moves. */
  repeats: 0xa8,
  /** Instructions that are left. */
  steps: 0xb0,
  code: 0xc0,
  codeBytes: 0x80,
  vectors: 0x140,
  windows: 0x340,
  windowCount: 4,
  /** Upper halves of the first sixteen zmm registers, the others whole, masks. */
  zmmHigh: 0x780,
  zmmUpper: 0x980,
  masks: 0xd80,
} as const;

/** Where no stack pointer comes to by chance: the kernel would take it for being on the stack of signals. */
const BASE = 0x5a5c7000n;
const BUFFER = BASE + 0x2000n;
const STARTED = BASE + 0x1ff0n;
const SIGNAL_STACK = BASE + 0x4000n;
const SIGNAL_STACK_BYTES = 0x10000n;

/** Where the kernel saves the registers of a context, in struct ucontext. */
const SAVED = [144, 152, 136, 128, 160, 120, 112, 104, 40, 48, 56, 64, 72, 80, 88, 96, 168, 176];
const SAVED_RIP = 168;
/** cs, gs, fs, ss; and what a process of 64 bits has. */
const [SAVED_SELECTORS, SELECTORS] = [184, '0x002b000000000033'];
const [SAVED_ERROR, SAVED_TRAP, SAVED_ADDRESS, SAVED_VECTORS] = [192, 200, 216, 224];
/** In the area of XSAVE. */
const [MXCSR, XMM, XSTATE_BV, YMM_HIGH] = [24, 160, 512, 576];
/** Of AVX-512 the place depends on the processor: by component, where it is kept, and what of the record it is. */
const COMPONENTS = [
  { number: 5, kept: 0x20, at: RECORD.masks, bytes: 64 },
  { number: 6, kept: 0x18, at: RECORD.zmmHigh, bytes: 512 },
  { number: 7, kept: 0x10, at: RECORD.zmmUpper, bytes: 1024 },
];
const SIGNALS = { ILL: 4, TRAP: 5, BUS: 7, FPE: 8, SEGV: 11 };
const TRAP_FLAG = 0x100;

const copy = (bytes: number): string => `mov ecx, ${bytes / 8}\nrep movsq`;

/** Memory and the record exchange their bytes: done twice, memory is as before. */
const EXCHANGE_WINDOWS = `
  lea rsi, [r12 + ${RECORD.windows}]
  mov r8d, ${RECORD.windowCount}
1:
  mov rdi, [rsi]
  add rsi, 8
  mov ecx, ${WINDOW / 8}
2:
  test rdi, rdi
  jz 3f
  mov rax, [rsi]
  mov rdx, [rdi]
  mov [rsi], rdx
  mov [rdi], rax
  add rdi, 8
3:
  add rsi, 8
  dec ecx
  jnz 2b
  dec r8d
  jnz 1b
`;

const onSignal = (signal: number): string => `
  mov edi, ${signal}
  lea rsi, [rip + .Laction]
  xor edx, edx
  mov r10d, 8
  mov eax, 13
  syscall
`;

/** Before the first access of a page the kernel has not mapped it: its fault would not be one of protection. */
const touch = (area: bigint): string => `mov rax, ${area + BigInt(WRITABLE)}\nmov cl, [rax]\n`;

/** arch_prctl: ARCH_SET_FS and ARCH_SET_GS. */
const setBase = (what: number, base: bigint): string => `
  mov edi, ${what}
  mov rsi, ${base}
  mov eax, 158
  syscall
`;

const findComponent = ({ number, kept }: (typeof COMPONENTS)[number]): string => `
  mov eax, 13
  mov ecx, ${number}
  cpuid
  mov [${STARTED - BigInt(kept)}], rbx
`;
const saveComponent = ({ kept, at, bytes }: (typeof COMPONENTS)[number]): string => `
  mov rsi, [r13 - ${kept}]
  add rsi, r14
  lea rdi, [r12 + ${at}]
  ${copy(bytes)}
`;
const loadComponent = ({ kept, at, bytes }: (typeof COMPONENTS)[number]): string => `
  lea rsi, [r12 + ${at}]
  mov rdi, [r13 - ${kept}]
  add rdi, r14
  ${copy(bytes)}
`;

/** @param hasAvx512 the processor has it, and the system keeps it */
const programText = (hasAvx512: boolean): string => `
  lea rdi, [rip + .Lstack]
  xor esi, esi
  mov eax, 131
  syscall
${Object.values(SIGNALS).map(onSignal).join('')}
${areasOf(USER).map(touch).join('')}
${hasAvx512 ? COMPONENTS.map(findComponent).join('') : ''}
  int3

.Lhandler:
  cld
  mov rbx, rdx
  mov r12d, ${BUFFER}
  mov r13d, ${STARTED}
  mov r14, [rbx + ${SAVED_VECTORS}]
  cmp dword ptr [r13], 0
  mov dword ptr [r13], 1
  je .Lnext
  cmp qword ptr [rbx + ${SAVED_TRAP}], 1
  jne .Lended
  cmp qword ptr [r12 + ${RECORD.steps}], 1
  jbe .Lrepeats
  dec qword ptr [r12 + ${RECORD.steps}]
  ret
.Lrepeats:
  cmp qword ptr [r12 + ${RECORD.repeats}], 0
  je .Lended
  mov rax, [rbx + ${SAVED_RIP}]
  cmp rax, [r12 + ${8 * 16}]
  jne .Lended
  ret
.Lended:
${SAVED.map((at, i) => `mov rax, [rbx + ${at}]\nmov [r12 + ${8 * i}], rax`).join('\n')}
  mov rax, [rbx + ${SAVED_TRAP}]
  mov [r12 + ${RECORD.trap}], rax
  mov rax, [rbx + ${SAVED_ERROR}]
  mov [r12 + ${RECORD.error}], rax
  mov rax, [rbx + ${SAVED_ADDRESS}]
  mov [r12 + ${RECORD.address}], rax
  lea rsi, [r14 + ${XMM}]
  lea rdi, [r12 + ${RECORD.vectors}]
  ${copy(256)}
  lea rsi, [r14 + ${YMM_HIGH}]
  ${copy(256)}
  ${hasAvx512 ? COMPONENTS.map(saveComponent).join('') : ''}
  ${EXCHANGE_WINDOWS}
  mov edi, 1
  mov rsi, r12
  mov edx, ${RECORD.bytes}
  mov eax, 1
  syscall
  cmp rax, ${RECORD.bytes}
  jne .Lfail
.Lnext:
  xor eax, eax
  mov ds, eax
  mov es, eax
${setBase(0x1002, SEGMENTS.fs.base)}
${setBase(0x1001, SEGMENTS.gs.base)}
  xor eax, eax
  mov rdi, r14
  mov ecx, ${XMM / 8}
  mov r15d, [r14 + ${MXCSR} + 4]
  rep stosq
  mov [r14 + ${MXCSR} + 4], r15d
  mov word ptr [r14], 0x37f
  mov dword ptr [r14 + ${MXCSR}], 0x1f80
  mov rax, ${SELECTORS}
  mov [rbx + ${SAVED_SELECTORS}], rax
  xor r15d, r15d
.Lread:
  xor edi, edi
  lea rsi, [r12 + r15]
  mov edx, ${RECORD.bytes}
  sub edx, r15d
  xor eax, eax
  syscall
  test rax, rax
  jz .Lend
  js .Lfail
  add r15, rax
  cmp r15, ${RECORD.bytes}
  jne .Lread
  mov rdi, [r12 + ${8 * 16}]
  lea rsi, [r12 + ${RECORD.code}]
  ${copy(RECORD.codeBytes)}
  ${EXCHANGE_WINDOWS}
${SAVED.map((at, i) => `mov rax, [r12 + ${8 * i}]\nmov [rbx + ${at}], rax`).join('\n')}
  or qword ptr [rbx + ${SAVED[17]}], ${TRAP_FLAG}
  lea rsi, [r12 + ${RECORD.vectors}]
  lea rdi, [r14 + ${XMM}]
  ${copy(256)}
  lea rdi, [r14 + ${YMM_HIGH}]
  ${copy(256)}
  ${hasAvx512 ? COMPONENTS.map(loadComponent).join('') : ''}
  or qword ptr [r14 + ${XSTATE_BV}], ${hasAvx512 ? 0xe7 : 7}
  ret
.Lend:
  xor edi, edi
  mov eax, 231
  syscall
.Lfail:
  mov edi, 1
  mov eax, 231
  syscall
.Lrestorer:
  mov eax, 15
  syscall

.Lstack:
  .quad ${SIGNAL_STACK}, 0, ${SIGNAL_STACK_BYTES}
.Laction:
  .quad .Lhandler, 0x4c000004, .Lrestorer, 0
`;

interface Segment {
  readonly addr: bigint;
  /** 4 read, 2 write, 1 execute. */
  readonly flags: number;
  readonly bytes: Uint8Array;
  readonly size: number;
}

async function segments(hasAvx512: boolean): Promise<Segment[]> {
  const code = await assembleSnippet(programText(hasAvx512), BASE);
  const all: Segment[] = [
    { addr: BASE, flags: 7, bytes: code, size: 0x20000 },
    { addr: USER.code, flags: 7, bytes: new Uint8Array(PAGE_SIZE).fill(0xf4), size: PAGE_SIZE },
  ];
  for (const area of areasOf(USER)) {
    const bytes = initialBytes(area);
    all.push({ addr: area, flags: 6, bytes: bytes.subarray(0, WRITABLE), size: WRITABLE });
    all.push({ addr: area + BigInt(WRITABLE), flags: 4, bytes: bytes.subarray(WRITABLE), size: PAGE_SIZE });
  }
  return all;
}

/** Writes the program: an executable file of ELF. */
export async function writeHostProgram(path: string, hasAvx512: boolean): Promise<void> {
  const all = await segments(hasAvx512);
  const head = Buffer.alloc(PAGE_SIZE);
  Buffer.from('7f454c46020101', 'hex').copy(head);
  head.writeUInt16LE(2, 16); // ET_EXEC
  head.writeUInt16LE(62, 18); // EM_X86_64
  head.writeUInt32LE(1, 20);
  head.writeBigUInt64LE(BASE, 24);
  head.writeBigUInt64LE(64n, 32);
  head.writeUInt16LE(64, 52);
  head.writeUInt16LE(56, 54);
  head.writeUInt16LE(all.length, 56);
  const parts: Uint8Array[] = [head];
  let offset = PAGE_SIZE;
  all.forEach(({ addr, flags, bytes, size }, i) => {
    const at = 64 + 56 * i;
    head.writeUInt32LE(1, at); // PT_LOAD
    head.writeUInt32LE(flags, at + 4);
    [BigInt(offset), addr, addr, BigInt(bytes.length), BigInt(size), BigInt(PAGE_SIZE)].forEach(
      (value, field) => {
        head.writeBigUInt64LE(value, at + 8 + 8 * field);
      },
    );
    const padded = Math.ceil(bytes.length / PAGE_SIZE) * PAGE_SIZE;
    parts.push(bytes, new Uint8Array(padded - bytes.length));
    offset += padded;
  });
  writeFileSync(path, Buffer.concat(parts));
  chmodSync(path, 0o755);
}
