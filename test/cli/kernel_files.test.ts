// What `klpemu symbols` and `klpemu layout` print of a kernel image, and how they end.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { smallImage } from '../vmlinuz/small_image.ts';
import { Cli } from './klpemu.ts';

let cli: Cli;
let image: string;
beforeAll(() => {
  cli = new Cli();
  image = join(cli.dir, 'vmlinuz');
  writeFileSync(image, smallImage({ packing: 'gzip' }));
});
afterAll(() => cli.remove());

describe('klpemu symbols', () => {
  it('lists names, patterns and what an address lies in', () => {
    const { status, stdout, stderr } = cli.run(['symbols', image, 'lea?', 'table', '0xffffffff81000024']);
    expect(stderr).toBe('');
    expect(stdout.split('\n')).toEqual([
      'ffffffff81000000      18 T .text       leaf',
      'ffffffff81002080       - B .bss        table',
      'ffffffff81000020      44 T .text       scratch+0x4',
      '',
    ]);
    expect(status).toBe(0);
  });

  it('says which name is no symbol, with exit code 1', () => {
    const { status, stdout, stderr } = cli.run(['symbols', image, 'nothing', '0x1']);
    expect([status, stdout]).toEqual([1, '']);
    expect(stderr).toBe(`klpemu: ${image}: no symbol nothing\nklpemu: ${image}: no symbol 0x1\n`);
  });

  it('sums up, as JSON too', () => {
    expect(cli.run(['symbols', image, '--summary']).stdout).toContain('a bzImage, its kernel packed by gzip');
    const { kinds, packing } = JSON.parse(cli.run(['symbols', image, '--summary', '--json']).stdout);
    expect([packing, kinds.function]).toEqual(['gzip', 27]);
  });
});

describe('klpemu layout', () => {
  it('prints a structure, a field of one, and lists what there is', () => {
    expect(cli.run(['layout', 'struct klp_state', 'klp_state.data', image]).stdout).toBe(
      [
        'struct klp_state: 24 bytes',
        'field                 offset  size',
        'long unsigned int id       0     8',
        'int version                8     4',
        'void *data                16     8',
        '',
        'klp_state.data: offset 16, 8 bytes: void *data',
        '',
      ].join('\n'),
    );
    expect(cli.run(['layout', image]).stdout).toBe('     24 struct klp_state\n');
    expect(JSON.parse(cli.run(['layout', '--json', 'klp_state', image]).stdout).found[0].fields[1]).toEqual({
      name: 'version',
      offset: 8,
      size: 4,
      declaration: 'int version',
    });
  });

  it('says what there is not, with exit code 1', () => {
    const { status, stderr } = cli.run(['layout', 'klp_state.nothing', image]);
    expect([status, stderr]).toEqual([
      1,
      `klpemu: ${image}: no structure, field or enumerator klp_state.nothing\n`,
    ]);
  });
});

describe.each(['symbols', 'layout'])('klpemu %s of what is no kernel', (command) => {
  it('is bad input, told in one line', () => {
    const file = join(cli.dir, 'cut');
    writeFileSync(file, smallImage().slice(0, 5000));
    const { status, stderr } = cli.run([command, file]);
    expect(status).toBe(2);
    expect(stderr).toMatch(/^klpemu: [^\n]*cut: the image is cut off[^\n]*\n$/);
  });
});
