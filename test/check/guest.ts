// The guest in which tests check objects: one a process, as a worker of `klpemu check` has it for all of its files.

import { CheckGuest } from '../../src/check/check_guest.ts';

let guest: CheckGuest | undefined;

export const checkGuest = (): CheckGuest => {
  guest ??= new CheckGuest();
  return guest;
};
