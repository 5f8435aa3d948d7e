// The files of /proc/PID. Mirrors fs/proc/base.c (tgid_base_stuff) and fs/proc/array.c.

import type { Addr } from '../guest/addr.ts';
import type { HostFunction } from '../guest/hostcall.ts';
import type { KernelDescription } from '../kernel/description.ts';
import type { TaskStruct } from '../kernel/task_struct.ts';
import { UAPI } from '../kernel/uapi.ts';
import type { FsContext } from './context.ts';
import type { SeqFiles } from './seq_file.ts';

/** What /proc/PID shows of a task that other subsystems know. */
export interface TaskTexts {
  /** Lines of /proc/PID/stack, each ended by a newline. */
  stack?(task: TaskStruct): string;
  /** The function that a sleeping task waits in; undefined where there is none. */
  wchan?(task: TaskStruct): string | undefined;
  /** What follows the name of a workqueue's worker: `+events`. */
  workerSuffix?(task: TaskStruct): string;
}

interface PidEntry {
  readonly name: string;
  readonly mode: number;
  /** Guest symbol of the show function: a host function. */
  readonly show: string;
}

const ENTRIES: readonly PidEntry[] = [
  { name: 'status', mode: 0o444, show: 'proc_pid_status' },
  { name: 'comm', mode: 0o644, show: 'comm_show' },
  { name: 'stat', mode: 0o444, show: 'proc_tgid_stat' },
  { name: 'wchan', mode: 0o444, show: 'proc_pid_wchan' },
  { name: 'stack', mode: 0o400, show: 'proc_pid_stack' },
  { name: 'patch_state', mode: 0o400, show: 'proc_pid_patch_state' },
];

/** task_state_array: a letter and a word for each lowest set bit of a task's state. */
const STATES = [
  'R (running)',
  'S (sleeping)',
  'D (disk sleep)',
  'T (stopped)',
  't (tracing stop)',
  'X (dead)',
  'Z (zombie)',
  'P (parked)',
  'I (idle)',
] as const;

/** get_task_state() */
export function taskState({ constants }: KernelDescription, state: number, exitState = 0): string {
  const { TASK_REPORT, TASK_IDLE } = constants;
  if ((state & TASK_IDLE) === TASK_IDLE) return STATES[8];
  const reported = (state | exitState) & TASK_REPORT;
  return STATES[32 - Math.clz32(reported)];
}

export class ProcPid {
  readonly #fs: FsContext;
  readonly #realParentAt: bigint;
  readonly #exitStateAt: bigint;
  readonly #seq: SeqFiles;
  readonly #texts: TaskTexts;

  constructor(fs: FsContext, seq: SeqFiles, texts: TaskTexts) {
    this.#fs = fs;
    this.#realParentAt = BigInt(fs.core.kernel.structs.task_struct.fields.real_parent);
    this.#exitStateAt = BigInt(fs.core.kernel.structs.task_struct.fields.exit_state);
    this.#seq = seq;
    this.#texts = texts;
    fs.core.host.defineAll({
      // Here the number itself is the struct pid.
      get_pid_task: ({ args }) => fs.core.tasks.byPid(Number(args[0]))?.addr ?? 0n,
      comm_show: this.#shower((task) => `${this.#name(task)}\n`),
      proc_pid_status: this.#shower((task) => this.#status(task)),
      proc_tgid_stat: this.#shower((task) => this.#stat(task)),
      proc_pid_wchan: this.#shower((task) => texts.wchan?.(task) ?? '0'),
      proc_pid_stack: this.#shower((task) => texts.stack?.(task) ?? ''),
      proc_pid_patch_state: this.#shower((task) => `${task.patchState}\n`),
    });
  }

  names(): string[] {
    return ENTRIES.map((entry) => entry.name);
  }

  lookup(name: string): PidEntry | undefined {
    return ENTRIES.find((entry) => entry.name === name);
  }

  openFile(pid: number, entry: PidEntry, flags: number): Addr {
    const { mem } = this.#fs;
    const file = this.#fs.allocFile('proc_single_file_operations', flags, UAPI.S_IFREG | entry.mode);
    const inode = this.#fs.inodeOf(file) - BigInt(this.#fs.procInode.vfs_inode);
    mem.writeU64(inode + BigInt(this.#fs.procInode.pid), BigInt(pid));
    mem.writeU64(inode + BigInt(this.#fs.procInode.op), this.#fs.symbol(entry.show));
    return file;
  }

  /** show(m, ns, pid, task) */
  #shower(textOf: (task: TaskStruct) => string): HostFunction {
    return ({ args }) => {
      const task = this.#fs.core.tasks.byAddr(args[3]);
      if (task) this.#seq.write(args[0], textOf(task));
      return 0;
    };
  }

  /** proc_task_name() */
  #name(task: TaskStruct): string {
    return task.comm + (this.#texts.workerSuffix?.(task) ?? '');
  }

  #state(task: TaskStruct): string {
    return taskState(this.#fs.core.kernel, task.state, this.#fs.mem.readS32(task.addr + this.#exitStateAt));
  }

  #parentPid(task: TaskStruct): number {
    const { mem, core } = this.#fs;
    return core.tasks.byAddr(mem.readU64(task.addr + this.#realParentAt))?.pid ?? 0;
  }

  #status(task: TaskStruct): string {
    const rows: [string, string | number][] = [
      ['Name', this.#name(task)],
      ['Umask', '0022'],
      ['State', this.#state(task)],
      ['Tgid', task.tgid],
      ['Pid', task.pid],
      ['PPid', this.#parentPid(task)],
      ['TracerPid', 0],
      ['Uid', '0\t0\t0\t0'],
      ['Gid', '0\t0\t0\t0'],
      ['Threads', 1],
    ];
    return rows.map(([name, value]) => `${name}:\t${value}\n`).join('');
  }

  /** The fields of proc(5) that a reader of ours may want; the others are 0. */
  #stat(task: TaskStruct): string {
    const ppid = this.#parentPid(task);
    const head = [
      task.pid,
      `(${this.#name(task)})`,
      this.#state(task)[0],
      ppid,
      task.tgid,
      task.tgid,
      0,
      -1,
      task.flags,
    ];
    return `${[...head, ...Array<number>(43).fill(0)].join(' ')}\n`;
  }
}
