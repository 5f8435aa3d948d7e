// What `klpemu check` was asked for on the command line.

import type { OrcFormat } from '../../arch/orc.ts';
import type { Unwinder } from '../../check/verdicts.ts';

export interface CheckCommandOptions {
  readonly unwinder: Unwinder | 'all';
  readonly into?: boolean;
  readonly functions?: boolean;
  /** The guest kernel's own code, and no objects. */
  readonly image?: boolean;
  readonly format?: OrcFormat;
  readonly jobs?: number;
  readonly json?: boolean;
  readonly quiet?: boolean;
}
