// What is counted while a workload runs on a machine of either model.
//
// Invariant: the counts are of what happened in the machine: blocks of kernel code as they were executed, and events
// of the gate, the livepatch core and the modules. Nothing is derived from what the workload meant to do.

import type { Machine } from '../machine/machine.ts';
import { Originals } from './originals.ts';

export interface Counts {
  originalRuns: number;
  originalInstructions: number;
  delays: number[];
  transitionDelays: number[];
  lateRelocations: number;
  clearedRelocations: number;
  notifiers: number;
  besideTransition: number;
  insideTransition: number;
}

/** Starts to count. */
export function countOn(machine: Machine): Counts {
  const counts: Counts = {
    originalRuns: 0,
    originalInstructions: 0,
    delays: [],
    transitionDelays: [],
    lateRelocations: 0,
    clearedRelocations: 0,
    notifiers: 0,
    besideTransition: 0,
    insideTransition: 0,
  };
  const originals = new Originals(machine);
  machine.inspect.onBlocks((start, executed) => {
    const { instructions, begun } = originals.count(start, executed);
    counts.originalInstructions += instructions;
    if (begun) counts.originalRuns++;
  });
  const { livepatch } = machine.inspect;
  machine.events.subscribe(
    (event) => {
      switch (event.type) {
        case 'gate':
          (event.what === 'load' ? counts.delays : counts.transitionDelays).push(event.waitedNs);
          break;
        case 'klp_module':
          counts.notifiers++;
          break;
        case 'klp_object':
          counts.besideTransition++;
          if (livepatch.transitionPatch) counts.insideTransition++;
          break;
        case 'klp_relocs':
          if (event.what === 'apply') counts.lateRelocations += event.count;
          else counts.clearedRelocations += event.count;
          break;
      }
    },
    ['gate', 'klp_module', 'klp_object', 'klp_relocs'],
  );
  return counts;
}
