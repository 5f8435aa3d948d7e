// What the heap needs from the subsystems beside it; src/machine wires them.

/** Grace periods. */
export interface RcuPort {
  /** call_rcu(): calls when every reader that is inside now has left. */
  afterGracePeriod(done: () => void): void;
}
