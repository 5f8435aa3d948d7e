// Whether there is a Unicorn library to compare with: tests of it skip themselves where there is none, and say so.

import { chooseUnicorn } from '../../src/arch/x86_64/unicorn/unicorn_choice.ts';

/** Why there is none; undefined where there is one. */
export const NO_UNICORN: string | undefined = reason();

function reason(): string | undefined {
  try {
    chooseUnicorn();
    return undefined;
  } catch (error) {
    return `no Unicorn here: ${(error as Error).message.split('\n')[0]}`;
  }
}
