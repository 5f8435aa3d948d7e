// What a page says of a scenario's run beside what happened in it.

import type { RunReport } from '../scenario/report.ts';
import type { Told } from './page_data.ts';

/** Of a scenario's run. */
export function toldOf(report: RunReport, about: string): Told {
  const { machine, ok, failure } = report;
  return {
    title: report.scenario,
    about,
    machine: `${machine.cpus} CPUs, seed ${machine.seed}, unwinder ${machine.unwinder}`,
    outcome: { ok, text: outcomeOf(report) },
    failed: failure !== undefined,
  };
}

function outcomeOf({ ok, failure, expectations, endedAt }: RunReport): string {
  const after = `${endedAt / 1e9}s of virtual time`;
  if (failure) return `${failure.message}; after ${after}`;
  const held = expectations.filter((each) => each.ok).length;
  return `${held} of ${expectations.length} expectations held${ok ? '' : ': FAILED'}; ${after}`;
}
