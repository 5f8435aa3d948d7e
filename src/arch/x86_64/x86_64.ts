// The port to x86_64: the one implementation of Arch. Mirrors arch/x86.

import { MAX_LENGTH } from '../../isa/decoder.ts';
import { loadDisassembler } from '../../isa/disassembler.ts';
import type { CheckableArch } from '../arch.ts';
import { sourcesIn } from '../image_sources.ts';
import { HOST_STUBS } from './boot/host_stubs.ts';
import { findIdleLoop } from './boot/idle.ts';
import { PROTECTION } from './boot/protection.ts';
import { CHECKING } from './check/checking.ts';
import { CONTEXT } from './context.ts';
import { CR4 } from './control_registers.ts';
import { X86Blocks } from './cpu/blocks.ts';
import { X86Processor } from './cpu/processor.ts';
import { TextGuard } from './cpu/text_guard.ts';
import { DEBUG } from './debug/debug.ts';
import { CoreEngine } from './engine/core_engine.ts';
import { FENTRY } from './fentry.ts';
import { MODULE_TEXT } from './module/module_text.ts';
import { ELF_MACHINE } from './module/relocation.ts';
import { CODE } from './objtool/code.ts';
import { POKING } from './poking.ts';
import { PT_REGS } from './pt_regs.ts';
import { SHOW_REGS } from './show_regs.ts';
import { THREADS } from './threads.ts';
import { TRAMPOLINE } from './trampoline.ts';
import { X86Traps } from './traps/traps.ts';
import { UnicornEngine } from './unicorn/unicorn.ts';
import { UNWINDERS } from './unwind/unwinders.ts';
import { VARARGS } from './varargs.ts';

export const X86_64: CheckableArch = {
  name: 'x86_64',
  elf: ELF_MACHINE,
  makeEngine: (name) => (name === 'core' ? new CoreEngine({ hasXsave: CR4.HAS_XSAVE }) : new UnicornEngine()),
  context: CONTEXT,
  imageSources: (root) => sourcesIn(root, 'asm/x86_64'),
  assembler: async () => (await import('./asm/assembler.ts')).assembler(),
  code: CODE,
  loadDisassembler,
  longestInsn: MAX_LENGTH,
  ptRegs: PT_REGS,
  showRegs: SHOW_REGS,
  fentry: FENTRY,
  trampoline: TRAMPOLINE,
  poking: POKING,
  makeProcessor: (parts) => new X86Processor(parts),
  execution: {
    notes: (engine) => (engine instanceof CoreEngine ? engine : undefined),
    blocks: (engine, mem) => new X86Blocks(engine, mem),
    sweep: (engine, mem) => (engine instanceof CoreEngine ? { unmap() {} } : new TextGuard(engine, mem)),
  },
  hostStubs: HOST_STUBS,
  varargs: VARARGS,
  findIdleLoop,
  defineTraps: (kernel) => void new X86Traps(kernel),
  threads: THREADS,
  protection: PROTECTION,
  moduleText: MODULE_TEXT,
  unwinders: UNWINDERS,
  debug: DEBUG,
  checking: CHECKING,
};
