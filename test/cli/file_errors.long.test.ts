// Errors about a file name it once, whatever went wrong with it, and counts agree with their words.

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Cli } from './klpemu.ts';

let cli: Cli;
const at = (name: string): string => join(cli.dir, name);
const MEMBER = 'fixtures/modules/klpbundle_p1_core.ko';

beforeAll(() => {
  cli = new Cli();
  writeFileSync(at('text.ko'), 'not');
  mkdirSync(at('folder.ko'));
});

afterAll(() => cli.remove());

describe('an error about a file', () => {
  it.each([
    ['bundle create', 'missing.ko', 'no such file or directory'],
    ['bundle create', 'folder.ko', 'illegal operation on a directory'],
    ['bundle create', 'text.ko', 'Invalid ELF header len 3: it is a text file'],
    ['bundle inspect', 'missing.klpb', 'no such file or directory'],
    ['bundle verify', 'text.ko', 'the tar is cut short: it has no end'],
    ['klp-convert', 'text.ko', 'Invalid ELF header len 3: it is a text file'],
    ['check', 'text.ko', 'Invalid ELF header len 3: it is a text file'],
    ['orc', 'missing.ko', 'no such file'],
    ['shell', 'missing', 'no such file or directory'],
  ])('of %s names %s once', (command, name, reason) => {
    const operands = command === 'bundle create' ? [at('x.klpb'), at(name), '--name', 'x'] : [at(name)];
    if (command === 'klp-convert') operands.push(at('out.ko'));
    const { status, stderr } = cli.run([...command.split(' '), ...operands]);
    expect(status).toBe(2);
    expect(stderr).toMatch(new RegExp(`^klpemu: .*${name}: ${reason}\n$`));
    expect(stderr.split(name).length - 1).toBe(1);
  });

  it('of depmod names it once', () => {
    const { stderr } = cli.run(['shell', '--dir', cli.dir, '-c', 'true']);
    expect(stderr).toMatch(
      /^depmod: ERROR: failed to load symbols from [^ ]*\/text\.ko: Invalid ELF header/m,
    );
    expect(stderr.split('text.ko').length - 1).toBe(1);
  });
});

it('a bundle of one member is said to have 1 member', () => {
  const { stdout } = cli.run(['bundle', 'create', at('one.klpb'), MEMBER, '--name', 'one']);
  expect(stdout).toMatch(/one\.klpb: [\d,]+ bytes, 1 member\n$/);
  expect(cli.run(['bundle', 'verify', at('one.klpb')]).stdout).toMatch(
    /: one 1, 1 member, as the manifest says/,
  );
});
