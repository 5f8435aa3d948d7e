// What became of one module of a distribution on a machine with its kernel, and why.

/** `runs`: its init returned 0. */
export type Outcome =
  | { readonly kind: 'runs' }
  /** Its init, or the loader, gave an error; the kernel goes on. */
  | { readonly kind: 'refused'; readonly errno: number; readonly said: string }
  /** It faulted: in which function, by which object, where that is told, and in the init of which module. */
  | {
      readonly kind: 'oops';
      readonly where: string;
      readonly object: string | undefined;
      readonly said: string;
    }
  /** It did not come back in its time: where it stands. */
  | { readonly kind: 'waits'; readonly where: string }
  /** One that it needs does not load. */
  | { readonly kind: 'needs'; readonly module: string }
  /** The machine itself ended. */
  | { readonly kind: 'ended'; readonly said: string };

const OBJECT = /^klpemu: .* goes by (\S+): this machine does not set that up$/;
const RIP = /^RIP: 0010:(\S+?)\+0x/;
const BUG =
  /^(?:BUG: |Oops|general protection fault|kernel BUG at |divide error|invalid opcode|Kernel panic)/;

/** @param log what was logged, without times. @returns undefined where nothing of it is an oops */
export function oopsIn(log: readonly string[]): Extract<Outcome, { kind: 'oops' }> | undefined {
  const bug = log.find((line) => BUG.test(line));
  if (bug === undefined) return undefined;
  const where = log.map((line) => RIP.exec(line)?.[1]).find((name) => name !== undefined) ?? 'no function';
  const object = log.map((line) => OBJECT.exec(line)?.[1]).find((name) => name !== undefined);
  return { kind: 'oops', where, object, said: bug };
}
