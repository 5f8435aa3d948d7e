// Signals by their names, and what a shell says of who was ended by one.

const NAMES = [
  'HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT',
  'CHLD CONT STOP TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS',
]
  .join(' ')
  .split(' ');

const TEXTS: Readonly<Record<number, string>> = {
  1: 'Hangup',
  2: 'Interrupt',
  3: 'Quit',
  4: 'Illegal instruction',
  5: 'Trace/breakpoint trap',
  6: 'Aborted',
  7: 'Bus error',
  8: 'Floating point exception',
  9: 'Killed',
  11: 'Segmentation fault',
  15: 'Terminated',
};

/** A signal by its number, `KILL` or `SIGKILL`; undefined for none. */
export function signalNumber(text: string): number | undefined {
  if (/^\d+$/.test(text)) return Number(text) <= 64 ? Number(text) : undefined;
  const at = NAMES.indexOf(text.toUpperCase().replace(/^SIG/, ''));
  return at < 0 ? undefined : at + 1;
}

/** `HUP`, `INT`... from 1. */
export function signalNames(): readonly string[] {
  return NAMES;
}

/** What a shell prints of a command that a signal ended. */
export function killedText(signal: number): string {
  return TEXTS[signal] ?? `Signal ${signal}`;
}

/** The exit status of such a command. */
export function signalStatus(signal: number): number {
  return 128 + signal;
}
