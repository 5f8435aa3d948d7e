// A check in Unicorn, where it is installed: it is the judge, and no part of what is shipped.

import { CheckUnicorn } from '../../src/arch/x86_64/check/unicorn.ts';
import { CheckGuest } from '../../src/check/check_guest.ts';
import { NO_UNICORN } from '../guest/unicorn_there.ts';

export function unicornGuest(): CheckGuest | undefined {
  return NO_UNICORN ? undefined : new CheckGuest(new CheckUnicorn());
}
