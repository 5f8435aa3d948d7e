// `Z` and `z`: break- and watchpoints are set and taken away.

import type { WatchPoint } from '../history/points.ts';
import { countOf, numberOf } from './hex.ts';
import type { Session } from './session.ts';

const [EINVAL, ENOSPC, OK, UNSUPPORTED] = ['E16', 'E1c', 'OK', ''];
const ACCESSES: Readonly<Record<string, WatchPoint['access']>> = { 2: 'write', 3: 'read', 4: 'both' };
/** The engine has room for as many ranges (core/layout.ts). */
const MOST_WATCHED = 16;
const MOST_BYTES = 4096;

/** @param text TYPE,ADDRESS,KIND; conditions behind it are the debugger's own */
export function breakOrWatch({ points }: Session, text: string, sets: boolean): string {
  const [type, at = '', kind = ''] = text.split(';')[0].split(',');
  const [addr, size] = [numberOf(at), countOf(kind)];
  if (!/^[0-4]$/.test(type)) return UNSUPPORTED;
  if (addr === undefined || size === undefined) return EINVAL;
  const access = ACCESSES[type];
  if (access === undefined) {
    const hardness = type === '0' ? 'software' : 'hardware';
    if (sets) points.addBreakpoint(addr, hardness);
    else points.removeBreakpoint(addr, hardness);
    return OK;
  }
  if (size < 1 || size > MOST_BYTES) return EINVAL;
  const point = { addr, size, access };
  if (!sets) points.removeWatchpoint(point);
  else if (points.watchpoints.length >= MOST_WATCHED) return ENOSPC;
  else points.addWatchpoint(point);
  return OK;
}
