// Unicorn 2's API through koffi: its functions, numbers, and how an engine is opened.
// This, unicorn.ts, unicorn_choice.ts and unicorn_calibration.ts are the only files that know Unicorn or koffi().

import type koffiModule from 'koffi';
import { EngineError } from '../../../guest/engine.ts';
import { koffi } from './koffi.ts';

const UC_ARCH_X86 = 4;
const UC_MODE_64 = 1 << 3;
const UC_HOOK_INSN = 1 << 1;
export const UC_HOOK_MEM_INVALID = 0x3f0;
const UC_X86_INS_SYSCALL = 699;
// uc_x86_reg
export const UC_X86_REG = { CS: 11, SS: 49, DS: 17, ES: 28, GDTR: 243, GS_BASE: 251 } as const;
export const GPR = [35, 38, 40, 37, 44, 36, 43, 39, 106, 107, 108, 109, 110, 111, 112, 113];
export const UC_X86_REG_RIP = 41;
export const UC_X86_REG_EFLAGS = 25;
// uc_err
export const UC_ERR = { OK: 0, INSN_INVALID: 10, EXCEPTION: 21 } as const;
/** UC_CTL_TB_REMOVE_CACHE, two arguments, write. */
export const TB_REMOVE_CACHE = 9 | (2 << 26) | (1 << 30);
/** UC_CTL_UC_USE_EXITS, one argument, and UC_CTL_UC_EXITS, two; write. */
export const USE_EXITS = 4 | (1 << 26) | (1 << 30);
export const EXITS = 6 | (2 << 26) | (1 << 30);
/** UC_CTL_TLB_TYPE, one argument, write; and UC_TLB_VIRTUAL. */
const TLB_TYPE = 12 | (1 << 26) | (1 << 30);
const TLB_VIRTUAL = 1;
/** An address that nothing jumps to (not canonical): uc_emu_start's `until`. */
export const NOWHERE = 0x8000000000000001n;
/** Bytes of the engine's structure that calibration looks at. */
export const ENGINE_BYTES = 2048;

export type Ptr = unknown;

function bind(path: string) {
  const lib = koffi().load(path);
  return {
    version: lib.func('uint32 uc_version(void*, void*)'),
    open: lib.func('int uc_open(int, int, _Out_ void**)'),
    close: lib.func('int uc_close(void*)'),
    mapPtr: lib.func('int uc_mem_map_ptr(void*, uint64, size_t, uint32, uint64)'),
    unmap: lib.func('int uc_mem_unmap(void*, uint64, size_t)'),
    protect: lib.func('int uc_mem_protect(void*, uint64, size_t, uint32)'),
    memRead: lib.func('int uc_mem_read(void*, uint64, void*, size_t)'),
    regWrite: lib.func('int uc_reg_write(void*, int, void*)'),
    start: lib.func('int uc_emu_start(void*, uint64, uint64, uint64, size_t)'),
    hookAdd: lib.func('int uc_hook_add(void*, _Out_ uint64*, int, uint64, void*, uint64, uint64, ...)'),
    contextAlloc: lib.func('int uc_context_alloc(void*, _Out_ void**)'),
    contextSave: lib.func('int uc_context_save(void*, void*)'),
    contextRestore: lib.func('int uc_context_restore(void*, void*)'),
    contextSize: lib.func('size_t uc_context_size(void*)'),
    contextFree: lib.func('int uc_context_free(void*)'),
    ctl: lib.func('int uc_ctl(void*, uint32, ...)'),
    strerror: lib.func('const char* uc_strerror(int)'),
    stopAddress: lib.symbol('uc_emu_stop', 'void') as unknown as bigint,
  };
}
export type Lib = ReturnType<typeof bind>;

type HookType = ReturnType<typeof koffiModule.proto>;
let memHook: HookType | undefined;
/** The type of a hook of invalid accesses: it can be made once. */
export function memHookType(): HookType {
  memHook ??= koffi().proto(
    'bool klpemu_mem_hook(void* uc, int type, uint64 addr, int size, int64 value, void* user)',
  );
  return memHook;
}

/** @throws EngineError when it is no library, or one without the functions of version 2. */
export function loadLibrary(path: string): Lib {
  try {
    return bind(path);
  } catch (error) {
    throw new EngineError(`cannot be loaded: ${(error as Error).message}`);
  }
}

/** As it calls itself, such as 2.1.4. */
export function versionOf(lib: Lib): string {
  const word = lib.version(null, null) as number;
  return [word >>> 24, (word >>> 16) & 0xff, (word >>> 8) & 0xff].join('.');
}

export function openEngine(lib: Lib): Ptr {
  const out: Ptr[] = [null];
  const err = lib.open(UC_ARCH_X86, UC_MODE_64, out);
  if (err !== UC_ERR.OK) throw new EngineError(`uc_open: ${lib.strerror(err)}`);
  const uc = out[0];
  // From 2.1 on, physical addresses are cut to 52 bits unless the TLB is filled without the CPU's MMU. Versions
  // that do not know the setting refuse it, and need none.
  lib.ctl(uc, TLB_TYPE, 'int', TLB_VIRTUAL);
  // syscall at ring 3 ends the run: the hook is uc_emu_stop itself.
  lib.hookAdd(uc, [0n], UC_HOOK_INSN, lib.stopAddress, null, 1n, 0n, 'int', UC_X86_INS_SYSCALL);
  return uc;
}

export function allocContext(lib: Lib, uc: Ptr): Ptr {
  const out: Ptr[] = [null];
  const err = lib.contextAlloc(uc, out);
  if (err !== UC_ERR.OK) throw new EngineError(`uc_context_alloc: ${lib.strerror(err)}`);
  lib.contextSave(uc, out[0]);
  return out[0];
}

/** A saved context's bytes from an offset on, shared with the engine. */
export function viewContext(lib: Lib, uc: Ptr, context: Ptr, from: number): ArrayBuffer {
  const address = BigInt(koffi().address(context as never) as bigint | number);
  return koffi().view(address + BigInt(from), Number(lib.contextSize(uc)) - from) as ArrayBuffer;
}
