// What is looked for in a machine's past, as a person says it: a write to an address, a change of a field, a call of a
// function, a line of the log.

import type { Machine } from '../machine/machine.ts';
import { DebugError } from './error.ts';
import type { WatchPoint } from './points.ts';

export type Sought =
  /** @param changes what is written differs from what was there */
  | {
      readonly kind: 'access';
      readonly what: string;
      readonly point: WatchPoint;
      readonly changes: boolean;
    }
  | { readonly kind: 'call'; readonly what: string; readonly addr: bigint }
  | { readonly kind: 'line'; readonly what: string; readonly text: string };

export const SOUGHT_USAGE =
  "'write ADDRESS' or 'write ADDRESS/BYTES', 'change TASK.patch_state', 'change FUNCTION->transition', 'call FUNCTION', 'dmesg TEXT'";
const WORD_BYTES = 4;

/** @param machine at the moment from which is looked back: names are those of then @throws DebugError */
export function soughtOf(text: string, machine: Machine): Sought {
  const [, verb = '', rest = ''] = /^(\w+)\s+(.+)$/.exec(text.trim()) ?? [];
  switch (verb) {
    case 'write':
      return written(rest, machine);
    case 'change':
      return changed(rest, machine);
    case 'call':
      return { kind: 'call', what: `call of ${rest}`, addr: addressOf(rest, machine) };
    case 'dmesg':
      return { kind: 'line', what: `line with '${rest}'`, text: rest };
    default:
      throw new DebugError(`'${text}' is nothing that can be looked for; ${SOUGHT_USAGE}`);
  }
}

function written(rest: string, machine: Machine): Sought {
  const [place, bytes = '1'] = rest.split('/');
  const size = Number(bytes);
  if (!/^\d{1,4}$/.test(bytes) || size < 1) throw new DebugError(`'${bytes}' is no number of bytes`);
  const addr = addressOf(place.trim(), machine);
  return { kind: 'access', what: `write to ${rest}`, point: { addr, size, access: 'write' }, changes: false };
}

/** A symbol, a symbol and an offset, or a number. */
function addressOf(place: string, machine: Machine): bigint {
  const { symbols } = machine.inspect.core;
  if (/^0x[0-9a-f]{1,16}$/i.test(place)) return BigInt(place);
  const [, name = place, offset = '0'] = /^(.+?)\+(0x[0-9a-f]+|\d+)$/i.exec(place) ?? [];
  const addr = symbols.lookupName(name);
  if (addr === undefined) throw new DebugError(`no symbol ${name} at that moment`);
  return addr + BigInt(offset);
}

function changed(rest: string, machine: Machine): Sought {
  const { core, livepatch } = machine.inspect;
  const [, task, field = ''] = /^(.+)\.(\w+)$/.exec(rest) ?? [];
  const { fields } = core.kernel.structs.task_struct;
  if (task !== undefined && Object.hasOwn(fields, field)) {
    const found = [...core.tasks.processes(), ...core.tasks.idle].filter(
      ({ comm, pid }) => comm === task || String(pid) === task,
    );
    if (found.length !== 1)
      throw new DebugError(
        `${found.length === 0 ? 'no task is' : 'several tasks are'} ${task} at that moment`,
      );
    const addr = found[0].addr + BigInt(fields[field as keyof typeof fields] as number);
    return access(rest, addr, WORD_BYTES);
  }
  const [, name] = /^(.+)->transition$/.exec(rest) ?? [];
  const funcs = livepatch
    .patches()
    .flatMap((patch) => patch.objects().flatMap((object) => object.funcs()))
    .filter(({ oldName }) => oldName === name);
  if (name === undefined || funcs.length === 0)
    throw new DebugError(
      `'${rest}' is no field that is known: TASK.patch_state, FUNCTION->transition of a patched function`,
    );
  const at = core.kernel.structs.klp_func.fields.transition;
  return access(rest, funcs[funcs.length - 1].addr + BigInt(at), 1);
}

const access = (what: string, addr: bigint, size: number): Sought => ({
  kind: 'access',
  what: `change of ${what}`,
  point: { addr, size, access: 'write' },
  changes: true,
});
