// A program for the setup: does this library fit? In a process of its own, since one that does not may end it.
//
//   node unicorn_probe.mjs [LIBRARY]     {"path":"...","version":"2.1.1"} or {"misfit":"..."} on standard output
//
// Without a library: the one that a machine here would use.

import { chooseUnicorn, tryUnicorn } from './unicorn_choice.ts';

function probe(given: string | undefined): { path: string; version: string } | { misfit: string } {
  try {
    const { path, version } = given === undefined ? chooseUnicorn() : tryUnicorn(given);
    return { path, version };
  } catch (error) {
    return { misfit: (error as Error).message };
  }
}

process.stdout.write(`${JSON.stringify(probe(process.argv[2]))}\n`);
