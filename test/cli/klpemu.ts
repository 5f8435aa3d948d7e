// klpemu as a user starts it, from the built files, with a folder of its own for sockets.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildProgram } from '../built_program.ts';

export const ROOT = join(import.meta.dirname, '../..');
const MAIN = 'dist/cli/main.js';

export interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export class Cli {
  readonly dir: string;
  readonly env: NodeJS.ProcessEnv;

  constructor() {
    buildProgram();
    this.dir = mkdtempSync(join(tmpdir(), 'klpemu-cli-'));
    this.env = { ...process.env, XDG_RUNTIME_DIR: this.dir };
  }

  run(args: readonly string[], options: { input?: string; env?: NodeJS.ProcessEnv } = {}): Ended {
    const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, ...args], {
      cwd: ROOT,
      encoding: 'utf8',
      env: { ...this.env, ...options.env },
      input: options.input ?? '',
    });
    return { status, stdout, stderr };
  }

  /** Starts it without waiting; its end is told by `ended`. */
  start(args: readonly string[]): { child: ChildProcess; ended: Promise<Ended> } {
    const child = spawn(process.execPath, [MAIN, ...args], { cwd: ROOT, env: this.env });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    const ended = new Promise<Ended>((resolve) => {
      child.on('close', (status) => resolve({ status, stdout, stderr }));
    });
    return { child, ended };
  }

  remove(): void {
    rmSync(this.dir, { recursive: true, force: true });
  }
}
