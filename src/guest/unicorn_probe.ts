// A program for the setup: does this library fit? In a process of its own, since one that does not may end it.
//
//   node unicorn_probe.mjs LIBRARY     {"version":"2.1.1"} or {"misfit":"..."} on standard output

import { tryUnicorn } from './unicorn_choice.ts';

function probe(path: string): { version: string } | { misfit: string } {
  try {
    return { version: tryUnicorn(path).version };
  } catch (error) {
    return { misfit: (error as Error).message };
  }
}

process.stdout.write(`${JSON.stringify(probe(process.argv[2]))}\n`);
