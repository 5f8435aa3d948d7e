// A boolean from text, or -errno. Mirrors kstrtobool() of lib/kstrtox.c.

import { CONSTANTS } from '../kernel/layout.ts';
import { kstrtobool as parse } from '../kernel/lib.ts';

export function kstrtobool(text: string): boolean | number {
  return parse(text) ?? -CONSTANTS.EINVAL;
}
