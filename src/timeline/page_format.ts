// What a page of a run holds as data: columns of numbers, which a browser reads fast, and tables of text that they point to.
//
// Times are virtual ns since boot, in order; `task` is an index of tasks, `stack` one of stacks.

/** What stands in the file: one run, or several of the same scenario that are looked at one beside the other. */
export interface PageFile {
  readonly runs: readonly PageRun[];
  /** What was counted in each of them, a column a run behind the first. */
  readonly table?: { readonly heads: readonly string[]; readonly rows: readonly (readonly string[])[] };
  /** Of an order of events in which it goes wrong. */
  readonly story?: PageStory;
}

interface PageRun {
  /** Which of several it is. */
  readonly label: string;
  readonly data: PageData;
}

interface PageStory {
  /** What went wrong, in a sentence each. */
  readonly problems: readonly string[];
  /** By which the run is had again. */
  readonly command: string;
  readonly lines: readonly PageStoryLine[];
}

interface PageStoryLine {
  /** -1 where it is of none. */
  readonly cpu: number;
  readonly text: string;
  readonly t?: number;
}

export interface PageData {
  readonly title: string;
  readonly about: string;
  /** `2 CPUs, seed 1, unwinder orc` */
  readonly machine: string;
  readonly outcome: { readonly ok: boolean; readonly text: string };
  readonly end: number;
  readonly cpus: number;
  readonly tasks: readonly PageTask[];
  /** What CPUs executed; a row of the four. */
  readonly runs: {
    readonly task: readonly number[];
    readonly cpu: readonly number[];
    readonly from: readonly number[];
    readonly to: readonly number[];
  };
  /** patch_state of tasks while transitions were under way; `way` is an index of ways, -1 for none. */
  readonly states: {
    readonly task: readonly number[];
    readonly state: readonly number[];
    readonly way: readonly number[];
    readonly from: readonly number[];
    readonly to: readonly number[];
  };
  readonly ways: readonly string[];
  /** Who could not switch, each time that somebody looked. */
  readonly blocked: readonly {
    readonly task: number;
    readonly t: number;
    readonly why: string;
    readonly func?: string;
    readonly stack: number;
  }[];
  /** Where tasks that left a CPU stood from then on. */
  readonly slept: {
    readonly task: readonly number[];
    readonly t: readonly number[];
    readonly stack: readonly number[];
  };
  readonly stacks: readonly (readonly string[])[];
  readonly transitions: readonly {
    readonly patch: string;
    readonly target: number;
    readonly from: number;
    readonly to: number;
    readonly outcome: string;
    readonly forced: boolean;
    readonly left: readonly { readonly t: number; readonly tasks: number }[];
  }[];
  /** Fentry sites as they were rewritten. */
  readonly sites: readonly {
    readonly t: number;
    readonly where: string;
    readonly what: string;
    readonly before: string;
    readonly after: string;
  }[];
  /** Steps of text poking. */
  readonly pokes: readonly {
    readonly t: number;
    readonly cpu: number;
    readonly where: string;
    readonly step: string;
    readonly before: string;
    readonly after: string;
  }[];
  readonly log: readonly { readonly t: number; readonly text: string }[];
  /** Oopses, gaps and holes. */
  readonly troubles: readonly { readonly t: number; readonly text: string }[];
}

interface PageTask {
  /** 0 for the idle task of a CPU. */
  readonly pid: number;
  readonly comm: string;
  readonly from: number;
  readonly to: number;
  /** Whether it was there at the end. */
  readonly lives: boolean;
}
