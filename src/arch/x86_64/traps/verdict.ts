// What a handler of an exception returns to the guest's entry code.

export const [SIGILL, SIGTRAP, SIGFPE, SIGKILL, SIGSEGV] = [4, 5, 8, 9, 11];

/** The signal that the task dies by, or that there is nothing more to do. */
export type Verdict = number;
export const HANDLED: Verdict = 0;
