// What frame pointers alone are wrong about, by the rule that it comes under.
// The rules are the sections of the kernel's Documentation/livepatch/reliable-stacktrace.rst.
//
// Invariant: every class stands under one rule; a rule that nothing depends on is reported too, with no classes.

import { FP_ELSEWHERE, FP_SAVED, NOTICED_BY_FP } from './frame_classes.ts';
import { FP_NAME, TARGET } from './target.ts';
import type { FrameClass, FrameRange, FrameReport, RuleReport } from './verdicts.ts';

type Why = RuleReport['classes'][number]['why'];

const UNNOTICED = 'a call without a frame, and nothing notices';

interface Rule {
  readonly section: string;
  readonly title: string;
  readonly demands: string;
  readonly classes: readonly Why[];
}

const FRAME_RULES: readonly Rule[] = [
  {
    section: '3',
    title: 'Compile-time analysis',
    demands: 'a tool holds the build to it: a frame around every call, or a trace misses the caller',
    classes: [UNNOTICED, NOTICED_BY_FP],
  },
  {
    section: '4.1',
    title: 'Identifying successful termination',
    demands: `a trace is reliable only if it ends where the stack of a task does: ${FP_NAME} leads anywhere here`,
    classes: [FP_ELSEWHERE],
  },
  {
    section: '4.2',
    title: 'Identifying unwindable code',
    demands:
      'reject traces through code that no compiler made the frames of, or have it make its own (trampolines)',
    classes: ['code that is no function', 'the call of __fentry__ before the frame'],
  },
  {
    section: '4.3',
    title: 'Unwinding across interrupts and exceptions',
    demands: 'reject a trace across an interrupt of kernel code: interrupted here, the caller is missed',
    classes: [
      'before the frame is made',
      FP_SAVED,
      'the frame is given up',
      'a path without a frame',
      'no frame in this function',
    ],
  },
  {
    section: '4.4',
    title: 'Rewriting of return addresses',
    demands: 'find the address that was there before, or reject the trace',
    classes: ['the return address is written over'],
  },
  {
    section: '4.5',
    title: 'Obscuring of return addresses',
    demands: 'reject a trace from here: the address on top of the stack is of no caller',
    classes: ['a return address that nothing returns to'],
  },
  {
    section: '4.6',
    title: 'Link register unreliability',
    demands:
      TARGET.ptRegs.link === undefined
        ? `nothing on ${TARGET.name}: a call puts the return address on the stack`
        : 'reject a trace from here: the return address may be in a register, or have been used up',
    classes: [],
  },
];

export function ruleOf(why: FrameClass): string {
  return FRAME_RULES.find(({ classes }) => classes.includes(why))?.section ?? '';
}

export function rulesOf(functions: readonly FrameReport[], outside: readonly FrameRange[]): RuleReport[] {
  const tally = new Map<Why, { instructions: number; functions: Set<string>; example: string }>();
  const note = (why: Why, func: string, offset: number, instructions: number): void => {
    const example = `${func}+0x${offset.toString(16)}`;
    const known = tally.get(why) ?? { instructions: 0, functions: new Set<string>(), example };
    known.instructions += instructions;
    known.functions.add(func);
    tally.set(why, known);
  };
  for (const { name, ranges, calls, fentry } of functions) {
    if (fentry) note('the call of __fentry__ before the frame', name, 0, 1);
    for (const { why, function: owner, from, instructions } of ranges) note(why, owner, from, instructions);
    for (const { offset, noticed } of calls) note(noticed ? NOTICED_BY_FP : UNNOTICED, name, offset, 1);
  }
  for (const { why, function: owner, from, instructions } of outside) note(why, owner, from, instructions);
  return FRAME_RULES.map(({ section, title, demands, classes }) => ({
    section,
    title,
    demands,
    classes: classes.flatMap((why) => {
      const found = tally.get(why);
      return found ? [{ ...found, why, functions: found.functions.size }] : [];
    }),
  }));
}
