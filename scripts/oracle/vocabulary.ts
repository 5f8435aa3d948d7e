// What the generator speaks of: the modules of fixtures/modules that behave the same whatever the time, their parameters
// and objects, and the files of sysfs, procfs and tracefs with what can be written to them.

interface Parameter {
  readonly name: string;
  /** For insmod. */
  readonly values: readonly string[];
  /** Whether /sys/module/NAME/parameters has it. */
  readonly visible: boolean;
}

export interface TargetModule {
  readonly name: string;
  readonly parameters: readonly Parameter[];
  /** What shows which of its functions run, and does not hang on time. */
  readonly looks: readonly string[];
}

export interface PatchModule {
  readonly name: string;
  readonly parameters: readonly Parameter[];
  /** Its objects, each with the functions that it changes. */
  readonly objects: ReadonlyMap<string, readonly string[]>;
}

const parameter = (name: string, values: readonly string[], visible = true): Parameter => ({
  name,
  values,
  visible,
});

const INIT_RET = parameter('init_ret', ['0', '-12', '-16', '-19', '-17']);
const bundleTarget = (name: string): TargetModule => ({
  name,
  parameters: [INIT_RET],
  looks: [`cat /proc/${name}`],
});

/** In the order in which one needs another. */
export const TARGETS: readonly TargetModule[] = [
  {
    name: 'klpdemo_target',
    parameters: [
      parameter('block', ['Y', 'N', '1', '0']),
      parameter('depth', ['0', '3', '9']),
      parameter('hold_ms', ['0', '60']),
      parameter('period_ms', ['40', '10']),
    ],
    looks: ["grep -E 'version|twins' /proc/klpdemo"],
  },
  bundleTarget('klpbundle_core'),
  bundleTarget('klpbundle_mid'),
  bundleTarget('klpbundle_top'),
  {
    name: 'klpdemo_cold',
    parameters: [parameter('body', ['Y', 'N']), parameter('hold_ms', ['20', '40'])],
    looks: [],
  },
];

const KLPDEMO_FUNCTIONS = [
  'klpdemo_round',
  'klpdemo_check',
  'klpdemo_work_fn',
  'klpdemo_show_version',
  'klpdemo_proc_show',
];
const REPLACE = parameter('replace', ['0', '1', 'Y', 'N', 'maybe'], false);
const VERSIONS = ['version1', 'version2'].map((name) => parameter(name, ['0', '1', '2'], false));

const patch = (
  name: string,
  objects: Readonly<Record<string, readonly string[]>>,
  parameters: readonly Parameter[] = [],
): PatchModule => ({ name, parameters, objects: new Map(Object.entries(objects)) });

export const PATCHES: readonly PatchModule[] = [
  patch('klpdemo_patch_target', { klpdemo_target: KLPDEMO_FUNCTIONS }),
  patch('klpdemo_patch_vmlinux', { vmlinux: ['cmdline_proc_show'] }),
  patch('klpdemo_patch_both', { vmlinux: ['meminfo_proc_show'], klpdemo_target: KLPDEMO_FUNCTIONS }, [
    REPLACE,
    parameter('pre_patch_ret', ['0', '-19', '-12', '-22']),
  ]),
  patch('klpdemo_patch_sympos', { klpdemo_target: ['klpdemo_twin'] }),
  patch('klpdemo_patch_cold', { klpdemo_cold: ['klpdemo_step'] }),
  ...['a', 'b', 'c'].map((letter) =>
    patch(`klpdemo_state_${letter}`, { vmlinux: ['cmdline_proc_show'] }, [...VERSIONS, REPLACE]),
  ),
  patch('klpbundle_p1_mid', { klpbundle_mid: ['klpbundle_mid_step'] }),
  patch('klpbundle_p1_top', { klpbundle_top: ['klpbundle_top_step'] }),
  patch('klpbundle_p2_core', { klpbundle_core: ['klpbundle_core_step'] }),
  patch('klpbundle_s1_core', { klpbundle_core: ['klpbundle_core_step'] }),
  patch('klpbundle_s2_core', { klpbundle_core: ['klpbundle_core_step'] }),
  patch('klpbundle_c1', {
    klpbundle_asker: ['klpbundle_asker_step'],
    klpbundle_core: ['klpbundle_core_step'],
  }),
];

/** A module that is not there. */
const ABSENT = 'klpdemo_no_such_module';
/** Patches that no kernel takes, and modules whose load fails. */
export const REFUSED: readonly (readonly [name: string, ...parameters: string[]])[] = [
  ['klpdemo_bad_ambiguous'],
  ['klpdemo_bad_import'],
  ['klpdemo_bad_init'],
  ['klpdemo_bad_missing'],
  ['klpdemo_bad_names', 'what=function'],
  ['klpdemo_bad_names', 'what=object'],
  ['klpdemo_bad_names', 'what=empty'],
  ['klpdemo_bad_notrace'],
  ['klpdemo_bad_small'],
  [ABSENT],
];

/** Every module that is named, and there is. */
export const MODULE_NAMES: readonly string[] = [
  ...new Set([
    ...TARGETS.map(({ name }) => name),
    ...PATCHES.map(({ name }) => name),
    ...REFUSED.map(([name]) => name),
    'klpdemo_kprobe',
  ]),
].filter((name) => name !== ABSENT);

/** Files of a livepatch's folder: there, of later kernels, or of none. */
export const PATCH_FILES = ['enabled', 'transition', 'force', 'signal', 'replace', 'stack_order'];
/** Words for a file that takes a truth value. */
export const BOOLEANS = [
  ...[
    '0',
    '1',
    'Y',
    'n',
    'on',
    'off',
    'x',
    '2',
    '-1',
    '0x',
    '',
    ' 1',
    'yes',
    'true',
    'oN',
    'OFF',
    'of',
    'o',
    't',
    'F',
  ],
  ...['1 0', '01', '1'.repeat(100), 'x'.repeat(600)],
];
export const NUMBERS = [
  '0',
  '1',
  '7',
  '-5',
  'x',
  '',
  '0x10',
  '010',
  '08',
  '+3',
  '3000000000',
  '1 2',
  '9'.repeat(400),
];

export const MODULE_FILES = ['refcnt', 'initstate', 'taint', 'coresize', 'version', 'srcversion', 'uevent'];

const TRACING = '/sys/kernel/debug/tracing';
/** Commands that look, and hang on nothing but what was done before. */
export const LOOKS: readonly string[] = [
  'lsmod',
  'cat /proc/modules',
  'ls -l /sys/kernel/livepatch',
  'ls /sys/kernel/livepatch',
  `cat ${TRACING}/enabled_functions`,
  `wc -l ${TRACING}/enabled_functions`,
  'cat /proc/cmdline',
  'grep klpdemo /proc/meminfo',
  'cat /proc/sys/kernel/tainted',
  'cat /proc/sys/kernel/ftrace_enabled',
  'ls -l /proc/sys/kernel/ftrace_enabled',
  'uname -r',
];
