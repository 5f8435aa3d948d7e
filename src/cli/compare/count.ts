// What is counted while a workload runs on a machine of either model.
//
// Invariant: the counts are of what happened in the machine: blocks of kernel code as they were executed, events,
// calls of the functions that make up the special paths. Nothing is derived from what the workload meant to do.

import type { Machine } from '../../machine/machine.ts';
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

/** Bytes of an Elf64_Rela. */
const RELA = 24;

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
  machine.inspect.onBlocks((rip, executed) => {
    const { instructions, begun } = originals.count(rip, executed);
    counts.originalInstructions += instructions;
    if (begun) counts.originalRuns++;
  });
  machine.events.subscribe(
    (event) => {
      if (event.type === 'gate')
        (event.what === 'load' ? counts.delays : counts.transitionDelays).push(event.waitedNs);
      if (event.type === 'printk' && /(applying patch|reverting patch) '/.test(event.text)) {
        counts.besideTransition++;
        if (machine.inspect.livepatch.transitionPatch) counts.insideTransition++;
      }
    },
    ['gate', 'printk'],
  );
  countSpecialPaths(machine, counts);
  return counts;
}

/** Puts a count in front of what the classic model calls for modules that come and go. */
function countSpecialPaths({ inspect: { livepatch, modules } }: Machine, counts: Counts): void {
  const coming = livepatch.moduleComing.bind(livepatch);
  const going = livepatch.moduleGoing.bind(livepatch);
  livepatch.moduleComing = (mod) => {
    counts.notifiers++;
    return coming(mod);
  };
  livepatch.moduleGoing = (mod) => {
    counts.notifiers++;
    return going(mod);
  };
  const { forLivepatch } = modules;
  const about = (patch: bigint, object: string): number =>
    (modules.loader.modules.byAddr(patch)?.elf.sections ?? [])
      .filter(({ name }) => name.startsWith(`.klp.rela.${object}.`))
      .reduce((sum, { size }) => sum + size / RELA, 0);
  const apply = forLivepatch.applyObjectRelocs.bind(forLivepatch);
  const clear = forLivepatch.clearObjectRelocs.bind(forLivepatch);
  forLivepatch.applyObjectRelocs = (patch, object) => {
    counts.lateRelocations += about(patch, object);
    return apply(patch, object);
  };
  forLivepatch.clearObjectRelocs = (patch, object) => {
    counts.clearedRelocations += about(patch, object);
    clear(patch, object);
  };
}
