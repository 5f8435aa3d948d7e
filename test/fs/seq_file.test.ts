import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Addr } from '../../src/guest/addr.ts';
import { BUILT_IN } from '../../src/kernel/description.ts';
import { UAPI } from '../../src/kernel/uapi.ts';
import { World } from './world.ts';

const C = BUILT_IN.constants;
const LAYOUT = BUILT_IN.structs;

let world: World;

beforeAll(async () => {
  world = await World.boot();
});
afterAll(() => world.close());

function text(value: string): Addr {
  const addr = world.core.slab.alloc(value.length + 1, 'test');
  world.core.mem.writeCString(addr, value);
  return addr;
}

/** A /proc entry of records; the functions are as a module's would be. `log` says what was called. */
function makeSeq(name: string, records: () => readonly (string | number)[], log: string[] = []): Addr {
  const { mem, slab } = world.core;
  const ops = slab.alloc(LAYOUT.seq_operations.size, 'test');
  const at = (pos: bigint): Addr => (pos < BigInt(records().length) ? 0x1000n + pos : 0n);
  const functions = {
    start: ([, ppos]: readonly bigint[]) => {
      log.push('start');
      return at(mem.readU64(ppos));
    },
    stop: () => void log.push('stop'),
    next: ([, , ppos]: readonly bigint[]) => {
      mem.writeU64(ppos, mem.readU64(ppos) + 1n);
      return at(mem.readU64(ppos));
    },
    show: ([m, v]: readonly bigint[]) => {
      const record = records()[Number(v - 0x1000n)];
      if (typeof record === 'number') return record;
      world.fs.seq.write(m, record);
      return 0;
    },
  };
  for (const [op, fn] of Object.entries(functions)) {
    const field = LAYOUT.seq_operations.fields[op as keyof typeof functions];
    mem.writeU64(ops + BigInt(field), world.define(fn));
  }
  return world.call('proc_create_seq_private', text(name), 0o444, 0, ops, 0, 0);
}

describe('a file of records', () => {
  it('reads the same in chunks of any size, whatever the records are', () => {
    let records: string[] = [];
    makeSeq('any', () => records);
    const record = fc.string({ unit: fc.constantFrom('a', 'b', '\n'), maxLength: 9000 });
    const shape = fc.record({
      list: fc.array(record, { maxLength: 12 }),
      chunk: fc.integer({ min: 1, max: 0x1000 }),
    });
    fc.assert(
      fc.property(shape, ({ list, chunk }) => {
        records = list;
        const whole = list.join('');
        const size = Math.max(chunk, Math.ceil(whole.length / 50));
        expect(world.cat('/proc/any', Math.min(size, 0x1000))).toBe(whole);
      }),
      { numRuns: 60 },
    );
  });

  it('can be sought to any offset', () => {
    const whole = ['one ', 'two ', 'x'.repeat(5000), ' end'].join('');
    makeSeq('seek', () => ['one ', 'two ', 'x'.repeat(5000), ' end']);
    const fd = world.open('/proc/seek');
    for (const offset of [0, 3, 4, 5, 8, 4100, 5007, 5012, 1, 6000]) {
      expect(world.lseek(fd, offset)).toBe(offset);
      // A read ends early where the next record has to wait for a larger buffer.
      const got = world.read(fd, 10) as string;
      expect(got.length > 0).toBe(offset < whole.length);
      expect(whole.slice(offset, offset + got.length)).toBe(got);
    }
    world.closeFd(fd);
  });

  it('stops once for each start', () => {
    const log: string[] = [];
    makeSeq('stops', () => ['a', 'b', 'c'], log);
    world.cat('/proc/stops', 1);
    expect(log.filter((l) => l === 'start').length).toBe(log.filter((l) => l === 'stop').length);
  });

  it('leaves out a record whose show says SEQ_SKIP', () => {
    makeSeq('skip', () => ['a', C.SEQ_SKIP, 'b', C.SEQ_SKIP]);
    expect(world.cat('/proc/skip')).toBe('ab');
    expect(world.cat('/proc/skip', 1)).toBe('ab');
  });

  it('ends with the error of a show, after what came before it', () => {
    makeSeq('error', () => ['a', -UAPI.EIO, 'b']);
    const fd = world.open('/proc/error');
    expect(world.read(fd)).toBe('a');
    expect(world.read(fd)).toBe(-UAPI.EIO);
    world.closeFd(fd);
  });

  it('reports the error of a start', () => {
    const { mem, slab } = world.core;
    const ops = slab.alloc(LAYOUT.seq_operations.size, 'test');
    mem.writeU64(
      ops + BigInt(LAYOUT.seq_operations.fields.start),
      world.define(() => -UAPI.ENODEV),
    );
    mem.writeU64(
      ops + BigInt(LAYOUT.seq_operations.fields.stop),
      world.define(() => 0),
    );
    world.call('proc_create_seq_private', text('nostart'), 0, 0, ops, 0, 0);
    expect(world.cat('/proc/nostart')).toBe(-UAPI.ENODEV);
  });

  it('names a next that does not move on, and goes on without it', () => {
    const { mem } = world.core;
    const entry = makeSeq('buggy', () => ['a', 'b']);
    const ops = mem.readU64(entry + 64n);
    let calls = 0;
    mem.writeU64(
      ops + BigInt(LAYOUT.seq_operations.fields.next),
      world.define(() => (calls++ === 0 ? 0x1001n : 0n)),
    );
    expect(world.cat('/proc/buggy')).toBe('ab');
    expect(world.core.printk.records.at(-1)?.text).toMatch(
      /^seq_file: buggy .next function \S+ did not update position index$/,
    );
  });
});

describe('writers', () => {
  const single = (name: string, show: (m: Addr) => void): string | number => {
    const entry = world.call(
      'proc_create_single_data',
      text(name),
      0,
      0,
      world.define(([m]) => void show(m)),
      0,
    );
    expect(entry).not.toBe(0n);
    const got = world.cat(`/proc/${name}`);
    world.call('remove_proc_entry', text(name), 0);
    return got;
  };
  const callIn = (fn: string, ...args: (bigint | number)[]): string | number => {
    // The show function of this entry is the writer itself, with the arguments put in place first.
    const code = [0xf3, 0x0f, 0x1e, 0xfa];
    const put = [0x48be, 0x48ba, 0x48b9, 0x49b8, 0x49b9];
    args.forEach((arg, i) => {
      code.push(put[i] >> 8, put[i] & 0xff);
      for (let b = 0n; b < 8n; b++) code.push(Number((BigInt.asUintN(64, BigInt(arg)) >> (8n * b)) & 0xffn));
    });
    code.push(0x48, 0x83, 0xec, 8, 0x48, 0xb8);
    for (let b = 0n; b < 8n; b++) code.push(Number((world.sym(fn) >> (8n * b)) & 0xffn));
    code.push(0xff, 0xd0, 0x48, 0x83, 0xc4, 8, 0x31, 0xc0, 0xc3);
    const entry = world.call('proc_create_single_data', text('writer'), 0, 0, world.addCode(code), 0);
    expect(entry).not.toBe(0n);
    const got = world.cat('/proc/writer');
    world.call('remove_proc_entry', text('writer'), 0);
    return got;
  };

  it('write texts, characters, bytes and numbers', () => {
    expect(callIn('seq_puts', text('abc'))).toBe('abc');
    expect(callIn('seq_putc', 0x41)).toBe('A');
    expect(callIn('seq_write', text('abcdef'), 3)).toBe('abc');
    expect(callIn('seq_printf', text('%s=%d %x'), text('n'), -3, 0xff)).toBe('n=-3 ff');
    expect(callIn('seq_put_decimal_ull', text('n: '), -1)).toBe('n: 18446744073709551615');
    expect(callIn('seq_put_decimal_ll', text(', '), -1)).toBe(', -1');
    expect(callIn('seq_put_decimal_ull_width', text('n:'), 42, 5)).toBe('n:   42');
  });

  it('come again in a larger buffer when a record does not fit', () => {
    let shown = 0;
    const long = 'y'.repeat(10_000);
    expect(
      single('long', (m) => {
        shown++;
        world.fs.seq.write(m, long);
      }),
    ).toBe(long);
    expect(shown).toBe(3);
  });
});

describe('lists', () => {
  it('are walked by position', () => {
    const { mem, slab } = world.core;
    const head = slab.alloc(16, 'test');
    const nodes = [0, 1, 2].map(() => slab.alloc(16, 'test'));
    const ring = [head, ...nodes];
    for (const [i, node] of ring.entries()) mem.writeU64(node, ring[(i + 1) % ring.length]);
    expect(world.call('seq_list_start', head, 0)).toBe(nodes[0]);
    expect(world.call('seq_list_start', head, 2)).toBe(nodes[2]);
    expect(world.call('seq_list_start', head, 3)).toBe(0n);
    expect(world.call('seq_list_start_head', head, 0)).toBe(head);
    const pos = slab.alloc(8, 'test');
    expect(world.call('seq_list_next', nodes[1], head, pos)).toBe(nodes[2]);
    expect(world.call('seq_list_next', nodes[2], head, pos)).toBe(0n);
    expect(mem.readU64(pos)).toBe(2n);
  });
});
