// What a machine held against the ground truth while it ran, counted.

import type { Traces } from './traces.ts';
import type { TransitionTruth } from './transition_truth.ts';
import type { VersionTruth } from './version_truth.ts';

export interface TruthCheck {
  readonly name: string;
  readonly count: number;
}

/** Each kind of check with how often it was made; one that fails throws where it is made. */
export function checksMade(traces: Traces, truth: TransitionTruth, versions: VersionTruth): TruthCheck[] {
  return [
    { name: 'reliable traces equal to the live frames', count: traces.compared },
    { name: 'frames in them', count: traces.frames },
    { name: 'transitions completed with no task in replaced code', count: truth.transitions },
    { name: 'tasks looked at for that', count: truth.tasks },
    {
      name: 'transitions completed with a task in replaced code (docs/findings.md)',
      count: truth.overTasks,
    },
    { name: 'switches of a task with none of its frames in replaced code', count: truth.switches },
    {
      name: 'calls into patched functions that took the version of the task',
      count: versions.calls - versions.gapCalls,
    },
    { name: "calls through the kernel's own gap (docs/findings.md)", count: versions.gapCalls },
    { name: 'tasks in code that force left them in (docs/findings.md)', count: truth.holes.count },
    {
      name: 'tasks in a part of a function that the stack check does not know (docs/findings.md)',
      count: truth.parts.count,
    },
  ];
}
