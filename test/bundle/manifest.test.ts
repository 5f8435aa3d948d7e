// What a manifest may not say.

import { describe, expect, it } from 'vitest';
import { parseManifest } from '../../src/bundle/manifest.ts';

const member = (object: string) => ({
  file: `${object}_patch.ko`,
  object,
  srcversion: 'ABC',
  sha256: '0'.repeat(64),
});
const manifest = (name: string, objects = ['vmlinux']) =>
  JSON.stringify({ name, version: '1', replace: false, members: objects.map(member) });

describe('a manifest', () => {
  it('names a bundle as a directory can be called: not . and not ..', () => {
    expect(() => parseManifest(manifest('.'))).toThrow(/^bundle.json: name: /);
    expect(() => parseManifest(manifest('..'))).toThrow(/^bundle.json: name: /);
    for (const name of ['...', '.a', 'a.', 'a-b_c']) expect(parseManifest(manifest(name)).name).toBe(name);
  });

  it('has no field twice in one object, however it is written', () => {
    const twice = (text: string) => () => parseManifest(text);
    const good = manifest('a');
    expect(twice(good.replace('{', '{"name":"b",'))).toThrow(/the field 'name' is there twice/);
    expect(twice(good.replace('{', '{"n\\u0061me" : "b",'))).toThrow(/the field 'name' is there twice/);
    expect(twice(good.replace('"object"', '"object":"x","object"'))).toThrow(
      /the field 'object' is there twice/,
    );
    // The same field of several members, and text that looks like one.
    expect(parseManifest(manifest('a', ['x', 'y'])).members).toHaveLength(2);
    expect(parseManifest(good.replace('"ABC"', JSON.stringify('"name": {"name":')))).toMatchObject({
      name: 'a',
    });
  });

  it('of many members is read in time that grows with them: each is looked at a few times', () => {
    const objects = Array.from({ length: 20_000 }, (_, i) => `object${i}`);
    expect(parseManifest(manifest('many', objects)).members).toHaveLength(20_000);
  });
});
