// Random operations on the function tracer and on kprobes: their files in tracefs and debugfs, good and bad words, and what
// makes the functions run. Only functions that run when a file is read are traced, so that what is recorded hangs on the
// operations alone: no tool of kmod or of the shell reads these files by itself, as modprobe does /proc/cmdline.

/** What the generator draws with. */
export interface Source {
  one<T>(list: readonly T[]): T;
  chance(percent: number): boolean;
}

const TRACING = '/sys/kernel/tracing';
const KPROBES = '/sys/kernel/debug/kprobes';
const LIST = `${KPROBES}/list`;

/** Of the image, and of modules that may be loaded or not. */
const OF_IMAGE = ['version_proc_show', 'meminfo_proc_show', 'uptime_proc_show'];
const OF_MODULES = [
  'klpbundle_core_step',
  'klpbundle_mid_step',
  'klpbundle_top_step',
  'klpbundle_core_show',
  'klpdemo_proc_show',
  'klpdemo_show_version',
  'klpdemo_new_meminfo_proc_show',
];
const FUNCTIONS = [...OF_IMAGE, ...OF_IMAGE, ...OF_IMAGE, ...OF_IMAGE, ...OF_MODULES];
/** What runs them. */
const RUNS = [
  'cat /proc/version',
  'grep klpdemo /proc/meminfo',
  'grep -c . /proc/uptime',
  'cat /proc/klpbundle_core',
  'cat /proc/klpbundle_mid',
  'cat /proc/klpbundle_top',
  "grep -E 'version|twins' /proc/klpdemo",
];
const EVENTS = ['one', 'two', 'three'];
const GROUPS = ['mine', 'kprobes'];

/** Beside names of functions. */
const PATTERNS = [
  'version_p*',
  '*time_proc_show',
  'meminfo_proc_sh[o]w',
  'klpbundle_*_step',
  'klpdemo_sh*',
  ':mod:klpbundle_core',
  'klpbundle_*:mod:klpbundle_mid',
  'no_such_function',
  'no_such_*',
  ':mod:no_such_module',
];
const BAD_PROBES = [
  'p:bad no_such_function',
  'p:bad klpdemo_twin',
  'p:bad',
  'p',
  'p: version_proc_show',
  'p:1bad version_proc_show',
  'p:mine/ version_proc_show',
  'p:/x version_proc_show',
  'p:a-b version_proc_show',
  'p:bad version_proc_show-1',
  'p:bad klpbundle_core:klpbundle_core_step',
  'p:bad no_such_module:klpbundle_core_step',
  'p:bad schedule_idle:x',
  'x:bad version_proc_show',
  'p:mine/two/three version_proc_show',
  'q',
  '-',
  '-:',
  '-:no_such_event',
  '-:mine/no_such_event',
  '# a comment',
  '',
];
const TRACERS = ['nop', 'nop', 'nop', 'functions', 'NOP', '', 'x', 'no such tracer', 'f'.repeat(120)];
const SWITCHES = [
  '0',
  '1',
  '1',
  'x',
  '2',
  '-1',
  '',
  'on',
  '0x1',
  '00',
  '1 1',
  '+1',
  '99999999999999999999999',
];
const TRUTHS = ['0', '1', 'Y', 'n', 'on', 'off', 'oN', 'x', '2', '', 'o', 'true'];
const FILES = [
  `${TRACING}/current_tracer`,
  `${TRACING}/tracing_on`,
  `${TRACING}/trace`,
  `${TRACING}/trace_pipe`,
  `${TRACING}/trace_marker`,
  `${TRACING}/touched_functions`,
  `${TRACING}/set_ftrace_filter`,
  `${TRACING}/set_ftrace_notrace`,
  `${TRACING}/enabled_functions`,
  `${TRACING}/available_filter_functions`,
  `${TRACING}/available_tracers`,
  `${TRACING}/kprobe_events`,
  `${TRACING}/kprobe_profile`,
  LIST,
  `${KPROBES}/enabled`,
];

const quoted = (word: string): string => `'${word}'`;

/** Remembers what has to be known so that never all functions of the kernel are traced: then the few that count are lost. */
export class TracingRows {
  readonly #source: Source;
  #traces = false;
  #filtered = false;
  /** Of probes that were asked for, with their groups. */
  readonly #events: string[] = [];

  constructor(source: Source) {
    this.#source = source;
  }

  tracer(): string {
    const { one, chance } = this.#bound();
    if (chance(55)) {
      if (!this.#filtered) return this.#filterOfImage();
      this.#traces = true;
      return `echo function > ${TRACING}/current_tracer`;
    }
    const tracer = one(TRACERS);
    if (tracer === 'nop') this.#traces = false;
    return `echo ${quoted(tracer)} > ${TRACING}/current_tracer`;
  }

  filter(): string {
    const { one, chance } = this.#bound();
    const words = chance(70)
      ? one(FUNCTIONS)
      : chance(80)
        ? one(PATTERNS)
        : `${one(FUNCTIONS)} ${one(PATTERNS)}`;
    if (chance(55)) return `echo ${quoted(words)} >> ${TRACING}/set_ftrace_filter`;
    // One that is taken out may be the last: all functions are traced then.
    if (chance(50) || this.#traces) return this.#filterOfImage();
    this.#filtered = false;
    return chance(25)
      ? `echo ${quoted(`!${words}`)} >> ${TRACING}/set_ftrace_filter`
      : `echo ${quoted(words)} > ${TRACING}/set_ftrace_filter`;
  }

  #filterOfImage(): string {
    const { one, chance } = this.#bound();
    this.#filtered = true;
    const more = chance(50) ? ` ${one(FUNCTIONS.filter((name) => OF_IMAGE.includes(name)))}` : '';
    return `echo ${quoted(`${one(OF_IMAGE)}${more}`)} > ${TRACING}/set_ftrace_filter`;
  }

  notrace(): string {
    const { one, chance } = this.#bound();
    const word = chance(60) ? '' : chance(80) ? one(OF_IMAGE) : one([...OF_MODULES, ...PATTERNS]);
    return `echo ${quoted(word)} ${one(['>', '>', '>>'])} ${TRACING}/set_ftrace_notrace`;
  }

  run(): string {
    return this.#source.one(RUNS);
  }

  look(): string {
    const { one } = this.#bound();
    return one([
      `grep -E '_(show|step) <-|^#|[a-z]: .[a-z]' ${TRACING}/trace`,
      `grep -E '_(show|step) <-|^#|[a-z]: .[a-z]' ${TRACING}/trace`,
      `timeout 0.5 cat ${TRACING}/trace_pipe | grep -E '_(show|step) <-|[a-z]: .?[a-z]'`,
      `timeout 0.5 cat ${TRACING}/trace_pipe | grep -E '_(show|step) <-|[a-z]: .?[a-z]'`,
      `cut -d' ' -f1 ${TRACING}/touched_functions`,
      `cat ${TRACING}/trace_marker`,
      `cat ${TRACING}/set_ftrace_filter`,
      `cat ${TRACING}/set_ftrace_notrace`,
      `cat ${TRACING}/current_tracer`,
      `cat ${TRACING}/tracing_on`,
      `cat ${TRACING}/enabled_functions`,
      `wc -l ${TRACING}/enabled_functions`,
      `grep -c klpbundle ${TRACING}/available_filter_functions`,
      `grep -x ${one(FUNCTIONS)} ${TRACING}/available_filter_functions`,
      `cat ${TRACING}/kprobe_events`,
      `cat ${TRACING}/kprobe_profile`,
      `grep ${one(FUNCTIONS)} ${LIST}`,
      `grep -c . ${LIST}`,
      `cat ${KPROBES}/enabled`,
      `cat ${this.#enableFile()}`,
      `ls -l ${one(FILES)}`,
      `stat -c '%A %a %U:%G %F %s %h %n' ${one(FILES)}`,
    ]);
  }

  switchOn(): string {
    const { one } = this.#bound();
    return one([
      `echo ${quoted(one(SWITCHES))} > ${TRACING}/tracing_on`,
      `echo 1 > ${TRACING}/tracing_on`,
      `echo > ${TRACING}/trace`,
      `echo ${quoted(one(['x', '']))} >> ${TRACING}/trace`,
      `echo ${quoted(one(['mark', 'a longer mark']))} > ${TRACING}/trace_marker`,
      `echo x > ${TRACING}/trace_pipe`,
    ]);
  }

  probe(): string {
    const { one, chance } = this.#bound();
    if (chance(25)) return `echo ${quoted(one(BAD_PROBES))} >> ${TRACING}/kprobe_events`;
    if (chance(25)) return this.#removal();
    const [group, event] = [chance(60) ? '' : `${one(GROUPS)}/`, one(EVENTS)];
    const name = chance(85) ? `:${group}${event}` : '';
    if (name !== '') this.#events.push(`${group || 'kprobes/'}${event}`);
    const redirection = chance(92) ? '>>' : '>';
    return `echo ${quoted(`p${name} ${one(FUNCTIONS)}`)} ${redirection} ${TRACING}/kprobe_events`;
  }

  #removal(): string {
    const { one, chance } = this.#bound();
    if (chance(12)) return `echo > ${TRACING}/kprobe_events`;
    return `echo ${quoted(`-:${chance(50) ? '' : `${one(GROUPS)}/`}${one(EVENTS)}`)} >> ${TRACING}/kprobe_events`;
  }

  #enableFile(): string {
    const { one, chance } = this.#bound();
    const group = one(GROUPS);
    if (chance(20)) return `${TRACING}/events/${group}/enable`;
    const known = this.#events.length > 0 && chance(90);
    return `${TRACING}/events/${known ? one(this.#events) : `${group}/${one(EVENTS)}`}/enable`;
  }

  enable(): string {
    const { one, chance } = this.#bound();
    const value = chance(55) ? '1' : chance(60) ? '0' : one(TRUTHS);
    return `echo ${quoted(value)} > ${this.#enableFile()}`;
  }

  allProbes(): string {
    const { one, chance } = this.#bound();
    return `echo ${quoted(chance(60) ? '1' : one(TRUTHS))} > ${KPROBES}/enabled`;
  }

  /** A module that has probes: always told where, as what it does by itself is read by modprobe. */
  module(): readonly string[] {
    const { one, chance } = this.#bound();
    const words = [`symbol=${one([...FUNCTIONS, 'no_such_function'])}`];
    if (chance(35)) words.push(`twice=${one(['1', 'Y', '0'])}`);
    if (chance(30)) words.push(`post=${one(['1', 'Y', '0'])}`);
    return ['klpdemo_kprobe', ...words];
  }

  parameter(): string {
    const { one, chance } = this.#bound();
    const parameters = '/sys/module/klpdemo_kprobe/parameters';
    if (chance(50)) return `echo ${quoted(one(TRUTHS))} > ${parameters}/on`;
    return one([
      `cat ${parameters}/${one(['hits', 'second_hits', 'post_hits', 'symbol', 'twice', 'post', 'on'])}`,
      `echo 1 > ${parameters}/${one(['hits', 'symbol'])}`,
      `ls -l ${parameters}`,
      'rmmod klpdemo_kprobe',
      'cat /sys/module/klpdemo_kprobe/refcnt',
    ]);
  }

  #bound(): Source {
    const source = this.#source;
    return { one: (list) => source.one(list), chance: (percent) => source.chance(percent) };
  }
}
