// What may differ between the two machines: each row has its reason, and everything else has to be the same. What is said
// here is said by `npm run oracle -- --help` and docs/oracle.md.

import type { LogLine, Outcome } from './outcome.ts';

interface Rule {
  readonly why: string;
  readonly from: RegExp;
  readonly to: string;
}

interface Left {
  readonly why: string;
  readonly line: RegExp;
}

/** In what commands print, and in the log. */
const RULES: readonly Rule[] = [
  { why: 'addresses depend on what was loaded before', from: /\b(0x)?ffff[0-9a-f]{12}\b/g, to: 'ADDRESS' },
  {
    why: 'the emulated shell says its own name where bash says its own',
    from: /^(\/init(: eval)?: line \d+|klpemu(: line \d+)?): /,
    to: 'sh: ',
  },
  {
    why: 'functions of the kernel image that are hosted are other code',
    from: /\b(klp_ftrace_handler\+0x0|function_trace_call\+0x0|kprobe_ftrace_handler\+0x0|arch_ftrace_ops_list_func\+0x0|ftrace_stub\+0x0)\/0x[0-9a-f]+/g,
    to: '$1',
  },
  {
    why: 'functions of the kernel image that are hosted are other code',
    from: /^( .*\((?:meminfo|uptime)_proc_show\+0x[04])\/0x[0-9a-f]+\)$/,
    to: '$1)',
  },
  {
    why: 'where a trampoline lies: what a module had there before may give it a name',
    from: /\btramp: [^(]+\((?=\w)/g,
    to: 'tramp: ADDRESS (',
  },
  {
    why: "in a trace: the text of a module's init has gone when it is read, and what lies there now is named",
    from: /^( +(?:modprobe|insmod)-\d+ .*: klpbundle_\w+_step <-).*/,
    to: '$1*',
  },
  {
    why: 'in a trace: tasks are numbered by what ran before, their names by who reads, and when they had to go is a matter of time',
    from: /^ +\S+-\d+ +(\[\d{3}\]) (.).(...) +\d+\.\d{6}: /,
    to: 'TASK $1 $2?$3 TIME: ',
  },
  {
    why: 'files of the emulated machine keep no times',
    from: /\b[A-Z][a-z]{2} [ \d]\d +(\d\d:\d\d|\d{4}) /g,
    to: 'DATE ',
  },
];

/** In the log alone: of a trace that the kernel prints. */
const LOG_RULES: readonly Rule[] = [
  {
    why: 'tasks are numbered by what ran before',
    from: /^(CPU:|WARNING: CPU:) \d+ (UID: \d+ )?PID: \d+/,
    to: '$1 N PID: N',
  },
  {
    why: 'functions of the kernel image that are hosted are other code',
    from: /^(WARNING: CPU: N PID: N at \S+ \w+)\+0x[0-9a-f]+\/0x[0-9a-f]+$/,
    to: '$1',
  },
  {
    why: 'functions of the kernel image that are hosted are other code',
    from: /^(RIP: 0010:\w+)\+0x[0-9a-f]+\/0x[0-9a-f]+$/,
    to: '$1',
  },
  {
    why: 'functions of the kernel image that are hosted are other code',
    from: /^(WARNING: \S+ at \w+)\+0x[0-9a-f]+\/0x[0-9a-f]+, CPU#\d+: .*$/,
    to: '$1',
  },
  { why: 'no thread-local storage; where per-CPU areas lie', from: /^FS: .*/, to: 'FS: *' },
  { why: 'no page tables, and another processor', from: /^CR2: .*/, to: 'CR2: *' },
  { why: 'the machine is another', from: /^Hardware name: .*/, to: 'Hardware name: *' },
  {
    why: 'the name of the program: the emulated shell writes by itself what bash writes',
    from: /\bComm: \S+/,
    to: 'Comm: *',
  },
  {
    why: 'the kernel hashes addresses',
    from: /kobject: \(([0-9a-f]+|\(____ptrval____\))\)/,
    to: 'kobject: (*)',
  },
];

/** Of the selftests. */
const SCRIPT_RULES: readonly Rule[] = [
  {
    why: 'when a selftest began',
    from: /^(livepatch kselftest timestamp: ).*/,
    to: '$1TIME',
  },
  {
    why: 'tasks are numbered by what ran before',
    from: /\bklp_pids=[\d,]+/,
    to: 'klp_pids=N',
  },
];

/** Lines that only one of the two has. */
const LEFT_OUT: readonly Left[] = [
  {
    why: 'frames of the kernel image, where hosted functions stand for several of its own',
    line: /^ \S+\+0x[0-9a-f]+\/0x[0-9a-f]+$/,
  },
  {
    why: 'debugfs/tracing of the emulated machine is no mount',
    line: /^NOTICE: Automounting of tracing to debugfs/,
  },
  { why: 'stale words of the stack', line: /^ \? / },
  { why: 'interrupts run on the task stack', line: /^ <\/?(IRQ|TASK)>$/ },
  {
    why: 'registers of the program in user space, and its code',
    line: /^(RIP: 0033|RSP: 002b|Code: |R[A-Z0-9]{2}: )/,
  },
  {
    why: 'devices and clocks that the emulated machine does not have',
    line: /^(random|tsc|clocksource|input|hrtimer|perf|sched|rtc|platform|e1000|cfg80211|Loading|x86\/): /,
  },
];

/** Notes of klpemu's own that stand beside the kernel's words. */
const NOTE = /^klpemu: (?!line \d+: |echo: |\/|\S+: command not found)/;

/** Every reason, for those who ask what was taken for the same. */
export const REASONS: readonly string[] = [
  ...new Set([...RULES, ...LOG_RULES, ...SCRIPT_RULES, ...LEFT_OUT].map(({ why }) => why)),
  'notes of klpemu in standard error, beside the words of the command',
  'times of the log',
];

const applied = (rules: readonly Rule[], text: string): string =>
  rules.reduce((line, { from, to }) => line.replace(from, to), text);

/** An outcome as lines: all that is the same on both machines is the same here. */
export function comparable({ status, stdout, stderr, log }: Outcome): string[] {
  return [
    ...linesOf(stdout).map((line) => applied(RULES, line)),
    ...linesOf(stderr)
      .filter((line) => !NOTE.test(line))
      .map((line) => `2> ${applied(RULES, line)}`),
    `status ${status}`,
    ...log.filter(({ text }) => !LEFT_OUT.some(({ line }) => line.test(text))).map(logLine),
  ];
}

const linesOf = (text: string): string[] => (text === '' ? [] : text.replace(/\n$/, '').split('\n'));

function logLine({ level, text }: LogLine): string {
  return `<${level}> ${applied(RULES, applied(LOG_RULES, applied(SCRIPT_RULES, text)))}`;
}
