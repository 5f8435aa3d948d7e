// What a port supplies: everything that klpemu knows of an instruction set and of how a kernel uses it. Types only;
// docs/porting.md says what each member must guarantee. Mirrors the seam between kernel/ and arch/, and objtool's arch.h.
//
// Invariant: outside of a port's own folder nothing names a register, an opcode, an offset in pt_regs or a constant
// of the architecture; whatever is needed of them is asked of the Arch that the machine's core holds.

import type { AsmPort } from '../asm/port.ts';
import type { ElfMachine } from '../elf/machine.ts';
import type { Execution } from './blocks.ts';
import type { Checking } from './checking.ts';
import type { CodeArch } from './code.ts';
import type { ContextRegisters } from './context.ts';
import type { DebugPort } from './debug.ts';
import type { Disassemble } from './disassembly.ts';
import type { MakeEngine } from './engine.ts';
import type { FentrySite } from './fentry.ts';
import type { HostStubs } from './host_stubs.ts';
import type { FindIdleLoop } from './idle.ts';
import type { ImageSources } from './image_sources.ts';
import type { ModuleText } from './module_text.ts';
import type { Poking } from './poking.ts';
import type { Processor, ProcessorParts } from './processor.ts';
import type { Protection } from './protection.ts';
import type { PtRegsLayout } from './pt_regs.ts';
import type { ShowRegs } from './show_regs.ts';
import type { Threads } from './threads.ts';
import type { TrampolineCode } from './trampoline.ts';
import type { DefineTraps } from './traps.ts';
import type { UnwinderPort } from './unwinders.ts';
import type { Varargs } from './varargs.ts';

/** One port. Members are grouped by who asks for them, in the order in which a porter needs them. */
export interface Arch {
  /** As uname -m prints it. */
  readonly name: string;
  /** Objects that are for it. */
  readonly elf: ElfMachine;

  /** What executes. */
  readonly makeEngine: MakeEngine;
  /** Which register of a context is which. */
  readonly context: ContextRegisters;

  /** The guest kernel's own text, and what its instructions are. */
  readonly imageSources: ImageSources;
  assembler(): Promise<AsmPort>;

  /** Compiled code as objtool reads it; undefined where no ORC tables are made. */
  readonly code: CodeArch | undefined;
  /** And as people do: what it is loaded from may take time, what it resolves to takes none. */
  loadDisassembler(): Promise<Disassemble>;
  /** Bytes of the longest instruction: so much further is read that the last one of a listing is whole. */
  readonly longestInsn: number;

  /** What is saved of an interrupted task. */
  readonly ptRegs: PtRegsLayout;
  /** How an oops prints it. */
  readonly showRegs: ShowRegs;

  /** The place at a function's start that becomes a call. */
  readonly fentry: FentrySite;
  /** What that call leads to. */
  readonly trampoline: TrampolineCode;
  /** How live text is changed. */
  readonly poking: Poking;
  /** What hardware does to a CPU. */
  makeProcessor(parts: ProcessorParts): Processor;
  /** How kernel code is executed while it is watched. */
  readonly execution: Execution;
  /** How the guest calls TypeScript. */
  readonly hostStubs: HostStubs;
  readonly varargs: Varargs;
  readonly findIdleLoop: FindIdleLoop;
  /** What the kernel makes of exceptions. */
  readonly defineTraps: DefineTraps;
  /** What a new task starts with. */
  readonly threads: Threads;

  /** On CPUs that keep kernel and users apart; undefined where there are none. */
  readonly protection?: Protection;
  /** What is done to a module's text while it loads. */
  readonly moduleText: ModuleText;

  /** Who finds callers on a stack, by the name that a machine's option has for it. */
  readonly unwinders: Readonly<Record<string, UnwinderPort>>;

  /** What a debugger asks; undefined where there is none. */
  readonly debug?: DebugPort;

  /** What a check of real code asks. */
  readonly checking: Checking | undefined;
}

/** A port with which objects are checked and ORC tables made. */
export type CheckableArch = Arch & { readonly code: CodeArch; readonly checking: Checking };
