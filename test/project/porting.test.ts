// docs/porting.md leads through every member of a port.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { X86_64 } from '../../src/arch/x86_64/x86_64.ts';

const ROOT = join(import.meta.dirname, '../..');
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');
const page = read('docs/porting.md');

/** Names of the members of an interface, as its source has them. */
function membersOf(path: string, name: string): string[] {
  const [, body = ''] = new RegExp(`interface ${name} \\{\\n([\\s\\S]*?)\\n\\}`).exec(read(path)) ?? [];
  return [...body.matchAll(/^ {2}(?:readonly )?(\w+)\??[:(]/gm)].map(([, member]) => member);
}

/** The line that is about a member. */
const isLed = (member: string): boolean =>
  page.split('\n').some((line) => /^- `/.test(line) && line.split(':')[0].includes(`\`${member}\``));

describe('docs/porting.md', () => {
  it('has an entry for every member of Arch, and for nothing else', () => {
    const members = membersOf('src/arch/arch.ts', 'Arch');
    expect(members.filter((member) => !isLed(member))).toEqual([]);
    const led = [...page.matchAll(/^- ((?:`\w+`(?:, )?)+):/gm)].flatMap(([, names]) =>
      [...names.matchAll(/`(\w+)`/g)].map(([, name]) => name),
    );
    expect(led.sort()).toEqual([...members].sort());
  });

  it('is about the members that the port of x86_64 has', () => {
    expect(membersOf('src/arch/arch.ts', 'Arch').sort()).toEqual(Object.keys(X86_64).sort());
  });

  it.each([
    ['src/arch/poking.ts', 'Poking'],
    ['src/arch/module_text.ts', 'ModuleText'],
    ['src/arch/unwinders.ts', 'UnwinderPort'],
  ])('names what %s asks for', (path, name) => {
    const missing = membersOf(path, name).filter((member) => !new RegExp(`\`${member}\\b`).test(page));
    expect(missing).toEqual([]);
  });

  it("goes through reliable stack traces in the order of the kernel's page, each rule once", () => {
    const numbers = [...page.matchAll(/^(?:\d\. )?\*\*[^*]*\((\d(?:\.\d)?)\)\.\*\*/gm)].map(
      ([, number]) => number,
    );
    expect(numbers).toEqual(['2', '3', '4.1', '4.2', '4.3', '4.4', '4.5', '4.6']);
  });

  it('names files that there are', () => {
    const files = [...page.matchAll(/`((?:src|test)\/[\w./]+\.ts)`/g)].map(([, file]) => file);
    expect(files.length).toBeGreaterThan(5);
    for (const file of files) expect(() => read(file), file).not.toThrow();
  });

  it.each(['README.md', 'docs/architecture.md'])('is linked from %s', (from) => {
    expect(read(from)).toMatch(/porting\.md/);
  });
});
