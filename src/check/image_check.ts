// A check of the guest kernel itself, on the machine that boots it: the reliable trace at every instruction that is
// executed, as it would be after an interrupt there, and again of the task that was preempted there, with its
// registers on its stack and another task running.
//
// Invariant: the workload is the same each time, so two checks of one image give the same report.

import type { TaskStruct } from '../kernel/task_struct.ts';
import type { KernelImage } from '../machine/boot/image.ts';
import { GuestPanic } from '../machine/traps/oops.ts';
import {
  hasSaid,
  IMAGE_PARTS,
  type ImagePart,
  MAX_STEPS,
  partSteps,
  traceFunctions,
} from './image_workload.ts';
import { type LiveReport, LiveTally } from './live_tally.ts';
import { Preempter } from './preempter.ts';
import { bootWithModules, Stepper } from './stepper.ts';

const MS = 1e6;

interface ImageReport {
  /** Code that no function of ftrace or livepatch's handler is, and theirs. */
  readonly interrupted: LiveReport;
  readonly preempted: LiveReport;
  readonly ftraceInterrupted: LiveReport;
  readonly ftracePreempted: LiveReport;
}

const NOT_EXECUTED = 'not executed by the workload';
const NOT_PREEMPTED = 'not executed there with interrupts and preemption on';

/** Machines that the parts boot, each to its end. */
export const imageSteps = (parts: readonly ImagePart[] = IMAGE_PARTS): number =>
  parts.reduce((sum, part) => sum + (part === 'preempted' ? 1 : partSteps(part).length), 0);

/** `onStep`: called before each of the steps, with its name. */
export async function checkImage(
  image: KernelImage,
  seed: number,
  parts: readonly ImagePart[] = IMAGE_PARTS,
  onStep: (name: string) => void = () => {},
): Promise<ImageReport> {
  const interrupted = new LiveTally(image);
  for (const part of parts) await interruptEverywhere(interrupted, seed, part, onStep);
  const preempted = new LiveTally(image);
  if (parts.includes('preempted')) {
    onStep('preempted');
    await preemptEverywhere(preempted, seed);
  }
  return {
    interrupted: interrupted.report(false, NOT_EXECUTED),
    preempted: preempted.report(false, NOT_PREEMPTED),
    ftraceInterrupted: interrupted.report(true, NOT_EXECUTED),
    ftracePreempted: preempted.report(true, NOT_PREEMPTED),
  };
}

/** Each part on a machine of its own; each fault too, for what it leaves behind. */
async function interruptEverywhere(
  tally: LiveTally,
  seed: number,
  part: ImagePart,
  onStep: (name: string) => void,
): Promise<void> {
  for (const steps of partSteps(part)) {
    onStep(part);
    const machine = await bootWithModules({ cpus: part === 'faults' ? 1 : 2, seed });
    const stepper = new Stepper(machine);
    stepper.observe = (lo, verdict, why) => tally.note(machine, lo, verdict, why);
    try {
      steps({
        machine,
        run: (program, ...args) => {
          stepper.toEnd(machine.spawn(program, args));
        },
        until: (condition, maxSteps) => {
          stepper.until(condition, maxSteps);
        },
      });
    } catch (error) {
      // Some faults end the machine, as they should.
      if (part !== 'faults' || !(error instanceof GuestPanic)) throw error;
    } finally {
      machine.close();
    }
  }
}

async function preemptEverywhere(tally: LiveTally, seed: number): Promise<void> {
  const machine = await bootWithModules({ cpus: 1, seed });
  const ended = (task: TaskStruct): boolean => machine.exitStatus(task) !== undefined;
  /** A program, preempted wherever it can be. */
  const preempt = (program: string, ...args: string[]): void => {
    const preempter = new Preempter(machine);
    const victim = machine.spawn(program, args);
    preempter.run(victim, () => ended(victim), MAX_STEPS);
    preempter.close();
    for (const { lo, unreliable, wrong } of preempter.preemptions) {
      if (wrong) tally.note(machine, lo, 'wrong, declared reliable', wrong);
      else if (unreliable) tally.note(machine, lo, 'wrong, declared unreliable', unreliable);
      else tally.note(machine, lo, 'right', '');
    }
  };
  const load = (name: string): void => {
    const task = machine.insmod(`/${name}.ko`);
    machine.runUntil(() => ended(task), 5000 * MS);
  };
  try {
    preempt('cat', '/proc/self/stack');
    preempt('sleep', '5', '2');
    preempt('forker', '5', '1');
    load('klpdemo_target');
    preempt('insmod', '/klpdemo_patch_both.ko');
    machine.runUntil(() => hasSaid(machine, ': patching complete'), 30_000 * MS);
    preempt('cat', '/proc/klpdemo');
    for (const regs of [true, false]) {
      machine.runFor(20 * MS);
      traceFunctions(machine, regs);
      preempt('cat', regs ? '/proc/meminfo' : '/proc/cmdline');
    }
    preempt('echo', '0\n', '/sys/kernel/livepatch/klpdemo_patch_both/enabled');
  } finally {
    machine.close();
  }
}
