#!/usr/bin/env node
// Starts the program, with the code that V8 compiled of it when the same command was first executed.
//
// The program is one file, whose name the build puts in here. Its compiled code is kept on disk, a file a command, and
// is used only as it was written: V8 looks at its version and flags, and at the length of the source, at nothing else.

import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { Script } from 'node:vm';
import type { main } from './program.ts';

/** File of the program, beside this one: its name has the hash of what is in it. */
declare const PROGRAM: string;

interface Program {
  readonly main: typeof main;
}

const FOLDER = fileURLToPath(new URL('../../.cache/code', import.meta.url));
const CHECKSUM_SIZE = 32;

const checksumOf = (bytes: Uint8Array): Buffer => createHash('sha256').update(bytes).digest();

/** Where the code of a command is kept, undefined when it is none by its looks. */
function fileOf(command: string | undefined): string | undefined {
  if (!command || !/^[a-z][a-z-]{0,30}$/.test(command)) return undefined;
  return `${FOLDER}/${PROGRAM}.${process.version}.${process.arch}.${command}`;
}

function readCode(file: string): Buffer | undefined {
  try {
    const bytes = readFileSync(file);
    const code = bytes.subarray(CHECKSUM_SIZE);
    return checksumOf(code).equals(bytes.subarray(0, CHECKSUM_SIZE)) ? code : undefined;
  } catch {
    return undefined;
  }
}

/** In the place of what is there, and of the code of other programs. */
function keepCode(file: string, code: Buffer): void {
  try {
    mkdirSync(FOLDER, { recursive: true });
    for (const name of readdirSync(FOLDER)) {
      if (!name.startsWith(PROGRAM)) rmSync(`${FOLDER}/${name}`, { force: true });
    }
    writeFileSync(`${file}.${process.pid}`, Buffer.concat([checksumOf(code), code]));
    renameSync(`${file}.${process.pid}`, file);
  } catch {
    // A cache that cannot be written costs time, nothing else.
  }
}

function load(command: string | undefined): Program {
  const url = new URL(PROGRAM, import.meta.url);
  const filename = fileURLToPath(url);
  const file = fileOf(command);
  const cachedData = file === undefined ? undefined : readCode(file);
  // A function of (module, require, PROGRAM_URL), in ASCII.
  const script = new Script(readFileSync(filename, 'latin1'), {
    filename,
    ...(cachedData ? { cachedData } : {}),
  });
  if (file !== undefined && (!cachedData || script.cachedDataRejected)) {
    process.once('exit', (status) => {
      // Another status may be that of a word that is no command.
      if (status === 0) keepCode(file, script.createCachedData());
    });
  }
  const module = { exports: {} };
  script.runInThisContext()(module, createRequire(url), url.href);
  return module.exports as Program;
}

await load(process.argv[2]).main(process.argv);
