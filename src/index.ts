// The public API: machines, their events, scenarios and unwinders, exported one by one.

export type { Arch } from './arch/arch.ts';
export { UnicornNotFoundError } from './arch/x86_64/unicorn/unicorn_library.ts';
export { OrcUnwinder } from './arch/x86_64/unwind/unwind_orc.ts';
export type { UnwinderKind } from './arch/x86_64/unwind/unwinders.ts';
export { X86_64 } from './arch/x86_64/x86_64.ts';
export { AsmError } from './asm/error.ts';
export type { OrcTable } from './elf/orc.ts';
export type { Addr } from './guest/addr.ts';
export { hex, hex16 } from './guest/addr.ts';
export { EngineError } from './guest/engine.ts';
export type { GuestMemory } from './guest/memory.ts';
export { GuestMemoryError } from './guest/memory.ts';
export { InstallationError } from './guest/package_root.ts';
export type { BackAnswer, FoundMoment } from './history/back.ts';
export { DebugError } from './history/error.ts';
export { back } from './history/scenario_back.ts';
export type { DisassembledInsn, DisassembleOptions } from './isa/disassembler.ts';
export { disassemble, loadDisassembler } from './isa/disassembler.ts';
export type { KernelCore } from './kernel/core.ts';
export type { KernelDescription } from './kernel/description.ts';
export { BUILT_IN } from './kernel/description.ts';
export { errnoName, KernelError } from './kernel/errno.ts';
export type { EventBody, EventSink, KernelEvent, SwitchWay } from './kernel/events.ts';
export { EventLog } from './kernel/events.ts';
export type { ExportedSymbol, Kallsyms, KernelSymbol, ResolvedSymbol } from './kernel/kallsyms.ts';
export { SlabError } from './kernel/slab.ts';
export type { TaskStruct, TaskTable, Tif } from './kernel/task_struct.ts';
export { HostCallError } from './machine/cpu/hostcall_dispatch.ts';
export type { Inspect } from './machine/inspect.ts';
export type { MachineOptions } from './machine/machine.ts';
export { Machine } from './machine/machine.ts';
export { MachineError } from './machine/machine_error.ts';
export { KernelFileError } from './machine/native/find.ts';
export { MachineOptionError } from './machine/option_table.ts';
export { ScheduleError } from './machine/schedule.ts';
export { GuestPanic } from './machine/traps/oops.ts';
export type { TruthCheck } from './machine/truth/checks.ts';
export { GroundTruthError } from './machine/truth/traces.ts';
export type { BlockedTask, Explanation } from './machine/why.ts';
export type { Kmalloc, ModuleObject } from './mm/kmalloc.ts';
export { ObjtoolError } from './objtool/error.ts';
export { PoseError } from './pose/error.ts';
export type { PosedTask, PoseOptions } from './pose/pose.ts';
export { Pose } from './pose/pose.ts';
export type { Place, Problem } from './scenario/error.ts';
export { ScenarioError } from './scenario/error.ts';
export { loadScenario, parseScenario } from './scenario/parse.ts';
export type { MachineSettings, ScenarioMachine } from './scenario/ports.ts';
export type {
  Gap,
  Oops,
  SiteRewrite,
  TaskBlocked,
  TaskSwitch,
  TransitionFacts,
  TransitionOutcome,
} from './scenario/recorder.ts';
export { Recorder } from './scenario/recorder.ts';
export type { ActionReport, Counters, Expectation, MachineFailure, RunReport } from './scenario/report.ts';
export type { RunObserver, RunOptions } from './scenario/run_options.ts';
export { runScenario, ScenarioRun } from './scenario/runner.ts';
export type { Check, Scenario, Step, TaskSpec } from './scenario/scenario.ts';
export { traceLine } from './scenario/trace.ts';
export { formatDuration, parseDuration } from './scenario/units.ts';
export type { KnownTask, World } from './scenario/world.ts';
export { OrcLookup, TextRangeError } from './unwind/orc_lookup.ts';
export { StackTrace } from './unwind/stacktrace.ts';
