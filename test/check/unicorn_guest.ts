// A check in Unicorn, where it is installed: it is the judge, and no part of what is shipped.

import { CheckUnicorn } from '../../src/arch/x86_64/check/unicorn.ts';
import { CheckGuest } from '../../src/check/check_guest.ts';
import { EngineError } from '../../src/guest/engine.ts';

export function unicornGuest(): CheckGuest | undefined {
  try {
    return new CheckGuest(new CheckUnicorn());
  } catch (error) {
    if (error instanceof EngineError) return undefined;
    throw error;
  }
}
