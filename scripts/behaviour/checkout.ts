// A commit in a folder of its own, built, with the npm packages that it asks for.

import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { CommandError } from '../setup/run.ts';

export class Checkout {
  readonly dir: string;
  /** The commit's abbreviated hash; with a `+` where it is the work tree as it is. */
  readonly name: string;
  readonly #temporary: boolean;
  readonly #root: string;

  private constructor(dir: string, name: string, root: string, temporary: boolean) {
    this.dir = dir;
    this.name = name;
    this.#root = root;
    this.#temporary = temporary;
  }

  /** @throws CommandError when there is no such commit, or when it cannot be built */
  static of(commit: string, root: string): Checkout {
    const hash = git(root, 'rev-parse', '--short', commit === '.' ? 'HEAD' : `${commit}^{commit}`);
    if (commit === '.') {
      const checkout = new Checkout(root, `${hash}+`, root, false);
      checkout.#build();
      return checkout;
    }
    const dir = join(mkdtempSync(join(tmpdir(), 'klpemu-commit-')), 'klpemu');
    git(root, 'worktree', 'add', '--quiet', '--detach', dir, hash);
    const checkout = new Checkout(dir, hash, root, true);
    try {
      checkout.#packages();
      checkout.#build();
    } catch (error) {
      checkout.remove();
      throw error;
    }
    return checkout;
  }

  /** Those of this checkout where the commit asks for the same ones. */
  #packages(): void {
    const lock = (dir: string) => readFileSync(join(dir, 'package-lock.json'), 'utf8');
    if (lock(this.dir) === lock(this.#root))
      symlinkSync(join(this.#root, 'node_modules'), join(this.dir, 'node_modules'));
    else this.#run('npm', ['ci', '--no-audit', '--no-fund', '--silent']);
    const library = join(this.#root, '.cache/unicorn');
    if (existsSync(library)) cpSync(library, join(this.dir, '.cache/unicorn'), { recursive: true });
  }

  /** Older commits have a build script that Node runs as it is. */
  #build(): void {
    const own = existsSync(join(this.dir, 'scripts/build.mjs'));
    const script = own ? ['scripts/build.mjs'] : ['scripts/run.mjs', 'build'];
    this.#run(process.execPath, [...script, '--no-types']);
  }

  #run(program: string, args: readonly string[]): void {
    const { status, stderr } = spawnSync(program, args, { cwd: this.dir, encoding: 'utf8' });
    if (status !== 0) throw new CommandError(`${this.name}: ${program} ${args.join(' ')}: ${stderr.trim()}`);
  }

  remove(): void {
    if (!this.#temporary) return;
    git(this.#root, 'worktree', 'remove', '--force', this.dir);
    rmSync(dirname(this.dir), { recursive: true, force: true });
  }
}

function git(cwd: string, ...args: string[]): string {
  return execFileSync('git', args, { cwd, encoding: 'utf8' }).trim();
}
