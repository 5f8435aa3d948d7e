// What kernels after 6.1 do otherwise in kernel/trace, each from which release on.

import type { Since } from '../kernel/release.ts';

export const FTRACE = {
  /** enabled_functions has a column for direct calls' ops and an M where a site was ever redirected. */
  modifiedColumn: { release: '6.12', seen: '6.12.117, 7.3.4', not: '6.1' },
  /** touched_functions */
  touchedShown: { release: '6.12', seen: '6.12.117, 7.3.4', not: '6.1' },
  /** available_filter_functions_addrs */
  addressesShown: { release: '6.12', seen: '6.12.117, 7.3.4', not: '6.1' },
  /** kernel.ftrace_enabled turns nothing off: 0 is EOPNOTSUPP, anything else is taken. */
  enabledIsDeprecated: { release: '7.3', seen: '7.3.4', not: '6.12.117' },
} as const satisfies Record<string, Since>;
