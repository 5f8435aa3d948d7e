// A scenario as the runner executes it: every duration in ns, every file found, every value with the place
// in the document that it came from.

import type { FaultPoint } from '../kernel/fault_inject.ts';
import type { Place } from './error.ts';
import type { CheckKind, RawMachine } from './schema.ts';
import type { BytePattern, ExitCode, Pattern, SiteRef } from './values.ts';

export interface Scenario {
  readonly file: string;
  readonly name: string;
  readonly about: string;
  readonly machine: RawMachine;
  /** Virtual ns at which a run that has not come to its end is given up. */
  readonly limit: number;
  readonly modules: readonly ModuleFile[];
  readonly files: readonly GuestFile[];
  readonly tasks: readonly TaskSpec[];
  readonly steps: readonly Step[];
  /** Armed from the start. */
  readonly faults: readonly FaultSpec[];
  /** Checked when the last step is done. */
  readonly expect: readonly Check[];
}

/** A scenario with `models`: its steps are done under each of them, and what each does is counted. */
export interface Comparison
  extends Pick<Scenario, 'file' | 'name' | 'about' | 'machine' | 'limit' | 'modules' | 'files'> {
  readonly models: readonly Model[];
  readonly steps: readonly ComparedStep[];
}

export type Model = NonNullable<RawMachine['model']>;

export interface ModuleFile {
  readonly name: string;
  /** On the host. */
  readonly path: string;
  readonly guestPath: string;
}

export interface GuestFile {
  readonly guestPath: string;
  readonly text?: string;
  /** On the host. */
  readonly from?: string;
}

export interface PoseSpec {
  /** Functions, outermost first. */
  readonly chain: readonly string[];
  readonly ms: number;
  readonly state: 'interruptible' | 'uninterruptible';
}

export interface TaskSpec {
  readonly name: string;
  readonly program: string;
  readonly args: readonly string[];
  /** Instead of a program. */
  readonly pose?: PoseSpec;
  readonly comm: string;
  readonly count: number;
  readonly start: number;
  readonly place: Place;
}

/** What is made to fail, and in whom. */
export interface FaultSpec extends CheckBase {
  readonly fail: 'allocation' | FaultPoint;
  readonly nth: number;
  readonly times: number;
  readonly of?: string;
  readonly errno?: number;
  /** Name, comm or pid of a task; without it, whoever calls. */
  readonly by?: string;
}

interface StepBase {
  readonly place: Place;
  readonly path: string;
  /** Virtual ns since boot. */
  readonly at?: number;
  /** ns since the step before it was done. */
  readonly after?: number;
}

/** What a user task is started for, and the exit code that it should have. */
export interface ActionStep extends StepBase {
  readonly verb: 'load' | 'unload' | 'write' | 'read';
  /** As a shell would be told. */
  readonly command: string;
  readonly module?: ModuleFile;
  readonly params?: string;
  readonly target: string;
  readonly text?: string;
  readonly output: readonly Pattern[];
  /** Where `output` stands. */
  readonly outputAt: CheckBase;
  /** In the task that the step starts. */
  readonly faults: readonly FaultSpec[];
  /** In a comparison: each call that can fail does, in turn, each in a run of its own. */
  readonly everyFault: boolean;
  readonly exit: ExitCode;
  readonly background: boolean;
}

export type Step =
  | ActionStep
  | (StepBase & { readonly verb: 'spawn'; readonly task: TaskSpec })
  | (StepBase & { readonly verb: 'kill'; readonly task: string; readonly signal: number })
  | (StepBase & { readonly verb: 'wait'; readonly duration: number })
  | (StepBase & { readonly verb: 'until'; readonly checks: readonly Check[]; readonly within: number })
  | (StepBase & {
      readonly verb: 'snapshot';
      readonly stack: readonly string[];
      readonly disassemble: readonly SiteRef[];
    })
  | (StepBase & { readonly verb: 'check'; readonly checks: readonly Check[] });

/** Patch modules, brought up as the model does: one by one until one fails, or as one bundle. */
export interface PatchStep extends StepBase, Pick<ActionStep, 'faults' | 'everyFault'> {
  readonly verb: 'patch';
  readonly members: readonly LocatedModule[];
  /** What the classic model loads for them. */
  readonly classic: readonly LocatedModule[];
}

export interface LocatedModule extends CheckBase {
  readonly module: ModuleFile;
}

/** Until no transition is under way. */
export interface SettleStep extends StepBase {
  readonly verb: 'settle';
}

export type ComparedStep =
  | Extract<Step, { verb: ActionStep['verb'] | 'spawn' | 'kill' | 'wait' }>
  | PatchStep
  | SettleStep;

export interface CheckBase {
  readonly place: Place;
  readonly path: string;
}

/** A line of a list, which fails at its own place. */
export interface LocatedPattern extends CheckBase {
  readonly pattern: Pattern;
}

export type Check = CheckBase & CheckBody;

/** Values of each kind of check. */
export type CheckBody =
  | { readonly kind: 'dmesg'; readonly lines: readonly LocatedPattern[] }
  | { readonly kind: 'absent'; readonly line: Pattern }
  | {
      readonly kind: 'blocked';
      readonly task: string;
      readonly on?: string;
      readonly why?: Pattern;
      readonly stack: readonly Pattern[];
    }
  | { readonly kind: 'switched'; readonly task: string; readonly way?: string; readonly by?: number }
  | { readonly kind: 'pending'; readonly task: string }
  | {
      readonly kind: 'done';
      readonly patch: string;
      readonly to: 'patched' | 'unpatched';
      readonly by?: number;
      readonly within?: number;
    }
  | { readonly kind: 'transition'; readonly patch: string }
  | {
      readonly kind: 'site';
      readonly at: SiteRef;
      readonly bytes?: BytePattern;
      readonly insn: readonly Pattern[];
      readonly calls?: string;
    }
  | {
      readonly kind: 'stack';
      readonly task: string;
      readonly has: readonly Pattern[];
      readonly lacks: readonly Pattern[];
    }
  | { readonly kind: 'file'; readonly filePath: string; readonly text: readonly Pattern[] }
  | { readonly kind: 'output'; readonly task: string; readonly text: readonly Pattern[] }
  | { readonly kind: 'exit'; readonly task: string; readonly status: ExitCode }
  | { readonly kind: 'alive'; readonly task: string }
  | { readonly kind: 'gone'; readonly task: string }
  | {
      readonly kind: 'hole';
      readonly task?: string;
      readonly func?: string;
      readonly patch?: string;
      /** Name of the part of the function. */
      readonly part?: string;
    }
  | { readonly kind: 'mixed'; readonly count: number }
  | { readonly kind: 'oops'; readonly text: Pattern };

type Missing = Exclude<CheckKind, CheckBody['kind']>;
// Fails to compile when the schema knows a kind that is not above.
true satisfies Missing extends never ? true : never;
