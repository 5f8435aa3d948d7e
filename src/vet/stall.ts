// Will it stall? By the call graph: from which functions a sleep can be reached, by which shortest way and in which state, and
// which are what a kernel thread never leaves.
//
// Invariant: a way that is told is one of direct branches that stand in the text; branches that go nobody knows where are
// counted, and said.

import { chainsFrom, type Step, shortestChain } from '../callgraph/chains.ts';
import type { CallGraph } from '../callgraph/graph.ts';
import type { CodeReader } from './code_reader.ts';
import type { Finding } from './finding.ts';
import { neverSleeps, SLEEPS, stateByName, WHAT_ENDS } from './sleeps.ts';

/** Threads that get into a function, so many calls away at most, are told. */
const MOST_THREADS = 4;
const FAR = 4;

/** A function as the graph has it. */
interface StallFunction {
  readonly name: string;
  readonly func: number;
  /** It comes with the patch: what is said is true of its way back. */
  readonly isNew: boolean;
}

export class StallForecast {
  readonly #graph: CallGraph;
  readonly #reader: CodeReader;
  readonly #threads: ReadonlyMap<number, string>;

  /** @param threads functions of kernel threads, and who makes each */
  constructor(graph: CallGraph, reader: CodeReader, threads: ReadonlyMap<number, string>) {
    this.#graph = graph;
    this.#reader = reader;
    this.#threads = threads;
  }

  of({ name, func, isNew }: StallFunction): Finding[] {
    const about = isNew ? `${name} (new)` : name;
    const finding = (weight: Finding['weight'], text: string, lines: readonly string[] = []): Finding => ({
      part: 'stall',
      weight,
      about,
      text,
      ...(lines.length > 0 ? { lines } : {}),
    });
    const unread = this.#graph.unread(func);
    const findings = [this.#sleeps(func, finding), ...(isNew ? [] : this.#threadFindings(func, finding))];
    if (unread > 0) findings.push(finding('not seen', `${unread} bytes of it are no instruction`));
    return findings;
  }

  #sleeps(
    func: number,
    finding: (weight: Finding['weight'], text: string, lines?: readonly string[]) => Finding,
  ): Finding {
    const graph = this.#graph;
    if (SLEEPS.has(graph.name(func)))
      return finding('told', 'is where tasks sleep: each that does stands in it');
    const { chain, seen, unknown } = shortestChain(
      graph,
      func,
      (to) => SLEEPS.has(graph.name(to)),
      (to) => neverSleeps(graph.name(to)),
    );
    const own = graph.indirect(func).length;
    const indirect =
      unknown === 0
        ? ''
        : `; ${unknown === 1 ? '1 branch in these goes' : `${unknown} branches in these go`} where a register or memory says${own > 0 ? `, ${own} of them its own` : ''}: what ${unknown === 1 ? 'it calls' : 'they call'} is unknown`;
    if (chain) return finding('told', `can sleep ${this.#stateOf(chain)}`, [this.#text(chain)]);
    const looked =
      seen === 1
        ? 'it calls nothing that could'
        : `of ${seen} functions that it can call directly, none does`;
    return finding(unknown === 0 ? 'good' : 'told', `no sleep is found: ${looked}${indirect}`);
  }

  /** The function nearest to the start whose name says it, or else the last one of the way whose code sets it. */
  #stateOf(chain: readonly Step[]): string {
    const byName = chain.map(({ func }) => stateByName(this.#graph.name(func))).find((state) => state);
    let state = byName;
    for (let i = chain.length - 2; i >= 0 && !state; i--) state = this.#reader.stateIn(chain[i].func);
    return state ? `(${WHAT_ENDS[state]})` : '(in which state its code does not tell)';
  }

  #text(chain: readonly Step[]): string {
    return chain.map(({ func }) => this.#graph.name(func)).join(' > ');
  }

  #threadFindings(
    func: number,
    finding: (weight: Finding['weight'], text: string, lines?: readonly string[]) => Finding,
  ): Finding[] {
    const graph = this.#graph;
    const threads = this.#threads;
    const maker = threads.get(func);
    if (maker !== undefined) {
      if (this.#neverLeaves(func))
        return [
          finding(
            'bad',
            `is the main loop of a kernel thread that ${maker} makes: such a thread never leaves it, and the transition does not end`,
          ),
        ];
      return [
        finding('told', `is what a kernel thread that ${maker} makes executes, from its start to its end`),
      ];
    }
    const chains = chainsFrom(graph, func, (caller) => threads.has(caller), MOST_THREADS, FAR);
    if (chains.length === 0) return [];
    return [
      finding(
        'told',
        'kernel threads get into it: one that sleeps there is woken after 15 s if its sleep is interruptible, and gets no signal',
        chains.map((chain) => chain.map((one) => graph.name(one)).join(' > ')),
      ),
    ];
  }

  /** A loop with a sleep in it, or no return at all. */
  #neverLeaves(func: number): boolean {
    const graph = this.#graph;
    if (graph.isDeadEnd(func)) return true;
    const sleepers = graph.callees(func).filter(({ to }) => {
      const name = graph.name(to);
      if (SLEEPS.has(name)) return true;
      return !neverSleeps(name) && this.#canSleep(to);
    });
    return this.#reader.loops(func).some(({ from, to }) => sleepers.some(({ at }) => at >= to && at <= from));
  }

  #canSleep(func: number): boolean {
    const graph = this.#graph;
    return (
      shortestChain(
        graph,
        func,
        (to) => SLEEPS.has(graph.name(to)),
        (to) => neverSleeps(graph.name(to)),
      ).chain !== undefined
    );
  }
}
