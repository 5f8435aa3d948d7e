// /proc/sys/kernel/printk: the levels of console_printk of a kernel's image, where it has them. Mirrors proc_dointvec() of
// kernel/sysctl.c for a table entry of four numbers, and console_loglevel's parameters of init/main.c.

import type { Addr } from '../guest/addr.ts';
import type { GuestMemory } from '../guest/memory.ts';
import type { KernelCore } from '../kernel/core.ts';
import { procInt } from '../kernel/proc_vec.ts';
import { UAPI } from '../kernel/uapi.ts';
import type { Sysctls } from './sysctl.ts';

const LEVELS = 4;
const CONSOLE_LOGLEVEL_QUIET = 4;
const CONSOLE_LOGLEVEL_DEBUG = 10;

export function printkSysctl(sysctls: Sysctls, { mem, symbols }: KernelCore, commandLine: string): void {
  const levels = symbols.lookupName('console_printk');
  if (levels === undefined) return;
  for (const word of commandLine.split(' ')) {
    const level = consoleLevel(word);
    if (level !== undefined) mem.writeU32(levels, level);
  }
  sysctls.add('kernel/printk', {
    mode: 0o644,
    read: () => Array.from({ length: LEVELS }, (_, i) => mem.readU32(levels + BigInt(4 * i)) | 0).join('\t'),
    write: (text) => writeLevels(mem, levels, text),
  });
}

/** What a word of the command line makes of console_loglevel. */
function consoleLevel(word: string): number | undefined {
  if (word === 'quiet') return CONSOLE_LOGLEVEL_QUIET;
  if (word === 'debug') return CONSOLE_LOGLEVEL_DEBUG;
  const level = /^loglevel=(\d+)$/.exec(word)?.[1];
  return level === undefined ? undefined : Number(level);
}

/** As many as there are numbers; those before one that is none hold. */
function writeLevels(mem: GuestMemory, levels: Addr, text: string): number {
  let taken = 0;
  for (let i = 0; i < LEVELS && (i === 0 || text.slice(taken).trim() !== ''); i++) {
    const written = procInt(text.slice(taken));
    if (typeof written === 'number') return written;
    mem.writeU32(levels + BigInt(4 * i), Number(BigInt.asUintN(32, written.value)));
    taken += written.consumed;
    if (written.consumed === 0) return -UAPI.EINVAL;
  }
  return taken;
}
