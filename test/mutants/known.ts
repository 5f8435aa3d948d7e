// Mutants that tests do not notice, looked at one by one: each with the reason why nobody could, or what would have to be there.
// By what they are (asmKey, sourceKey), not by lines.

interface Known {
  readonly mutant: string;
  /** equivalent: nothing can tell it from the code as it is. open: a test could, and there is none yet. */
  readonly is: 'equivalent' | 'open';
  readonly why: string;
}

export const KNOWN: readonly Known[] = [
  {
    mutant: 'unwind/orc_lookup.ts: (ip | 0) >= 0 -> false',
    is: 'equivalent',
    why: 'an early answer: a user address is no less than 2 GiB from every range, and is in none',
  },
  {
    mutant: 'unwind/orc_lookup.ts: ids.length > 1 -> true',
    is: 'equivalent',
    why: 'the list of a page with one range is not looked at; it is memory that could be given back',
  },
  {
    mutant: 'unwind/unwind_state.ts: distance > 0x20000 -> false',
    is: 'open',
    why: 'a pointer 4 GiB above its stack would be taken for one into it: no test puts one on a stack',
  },
  {
    mutant: 'unwind/dumpstack.ts: true -> false',
    is: 'open',
    why: 'code bytes of the task that dumps itself from its own system call registers: no test looks at them',
  },
  {
    mutant:
      'ftrace/dyn_ftrace.ts: found !== undefined && found.offset <= arch.fentry.maxOffset -> found !== undefined || found.offset <= arch.fentry.maxOffset',
    is: 'open',
    why: 'a record far behind the start of its function: only modules of weak functions have one, and their test is not of the folder',
  },
  {
    mutant: 'ftrace/text_poke.ts: callee === undefined -> true',
    is: 'open',
    why: 'the words of an int3 event, which the narration shows',
  },
];
