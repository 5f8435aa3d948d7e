// Faults that a scenario asks for: from the file to what is armed in the machine, and whether they came.

import type { Fault, FaultAttr, FaultPoint } from '../kernel/fault_inject.ts';
import type { TaskStruct } from '../kernel/task_struct.ts';
import type { FaultSpec } from './scenario.ts';
import type { RawFault } from './schema.ts';
import { type Path, pathText, type YamlSource } from './source.ts';

/** @param path of the value in the document. */
export function buildFaults(
  raw: RawFault | readonly RawFault[] | undefined,
  path: Path,
  source: YamlSource,
): FaultSpec[] {
  if (raw === undefined) return [];
  const one = (fault: RawFault, at: Path): FaultSpec => ({
    place: source.place(at),
    path: pathText(at),
    fail: fault.fail,
    nth: fault.nth ?? 1,
    times: fault.times ?? 1,
    ...(fault.of === undefined ? {} : { of: fault.of }),
    ...(fault.error === undefined ? {} : { errno: fault.error }),
    ...(fault.by === undefined ? {} : { by: fault.by }),
  });
  return Array.isArray(raw)
    ? raw.map((fault: RawFault, i) => one(fault, [...path, i]))
    : [one(raw as RawFault, path)];
}

const ALLOCATIONS: readonly FaultPoint[] = ['kmalloc', 'module_alloc'];

/** @param by which tasks it is for */
export function faultAttr(spec: FaultSpec, by?: (task: TaskStruct) => boolean): FaultAttr {
  return {
    point: spec.fail === 'allocation' ? ALLOCATIONS : spec.fail,
    nth: spec.nth,
    times: spec.times,
    ...(spec.of === undefined ? {} : { of: spec.of }),
    ...(spec.errno === undefined ? {} : { errno: spec.errno }),
    ...(by === undefined ? {} : { by }),
  };
}

/** What is wrong with a fault that should have come by now; undefined when it came. */
export function faultMissed(spec: FaultSpec, fault: Fault): { expected: string; seen: string } | undefined {
  if (fault.injected.length > 0) return undefined;
  const of = spec.of === undefined ? '' : ` of ${spec.of}`;
  const what = spec.fail === 'allocation' ? 'allocation' : `call of ${spec.fail}()`;
  return { expected: `${what} number ${spec.nth}${of} fails`, seen: `${fault.calls} of them` };
}
