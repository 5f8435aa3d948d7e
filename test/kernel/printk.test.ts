// The kernel log is a ring of the kernel's size: what it holds, and what newer records overwrite.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { EventLog } from '../../src/kernel/events.ts';
import { Printk } from '../../src/kernel/printk.ts';
import { logBufLen } from '../../src/kernel/printk_ringbuffer.ts';

const LOG_BUF_LEN = 131072;
const log = (cpus = 1) => new Printk(new EventLog(() => ({ t: 0, cpu: 0 })), () => 0, cpus);
/** A block's head, a level of two bytes, the text, newline and NUL, in multiples of 8. */
const block = (text: string) => 8 + Math.ceil((text.length + 4) / 8) * 8;
const texts = (printk: Printk) => printk.records.map((r) => r.text);

describe('the log buffer', () => {
  it('has the sizes that the kernel computes for CONFIG_LOG_BUF_SHIFT 17 and numbers of CPUs', () => {
    expect([1, 2, 17, 18, 64].map(logBufLen)).toEqual([17, 17, 17, 18, 19].map((shift) => 2 ** shift));
  });

  it('holds 4096 records, however short', () => {
    const printk = log();
    for (let i = 0; i < 5000; i++) printk.info(`${i}`);
    expect(printk.records).toHaveLength(4096);
    expect(printk.records[0]).toMatchObject({ seq: 904, text: '904' });
    expect(printk.dmesg()[0]).toBe('[    0.000000] 904');
  });

  it('holds as much text as there is room for, a block never split over the end', () => {
    const printk = log();
    const text = (i: number) => String(i).padEnd(512, '.');
    for (let i = 0; i < 1000; i++) printk.info(text(i));
    expect(block(text(0))).toBe(528);
    // 248 blocks of 528 bytes are 130944; the 249th is put at the beginning again, over the first one.
    expect(printk.records.length).toBeGreaterThanOrEqual(247);
    expect(printk.records.length).toBeLessThanOrEqual(248);
    expect(printk.records.at(-1)?.text).toBe(text(999));
  });

  it('keeps the newest, tells of each it drops once and in order, and never holds more than fits', () => {
    const sizes = fc.array(fc.integer({ min: 0, max: 900 }), { minLength: 400, maxLength: 800 });
    fc.assert(
      fc.property(sizes, (lengths) => {
        const printk = log();
        const gone: string[] = [];
        printk.onOverwritten = ({ text }) => gone.push(text);
        const all = lengths.map((length, i) => `${i}:`.padEnd(length, 'x'));
        for (const text of all) printk.info(text);
        expect([...gone, ...texts(printk)]).toEqual(all);
        const held = texts(printk).reduce((sum, text) => sum + block(text), 0);
        expect(held).toBeLessThanOrEqual(LOG_BUF_LEN);
        // Something is dropped only for room: a block more, and one that may have been lost at the end of the ring.
        if (gone.length > 0) expect(held).toBeGreaterThan(LOG_BUF_LEN - 3 * 920);
      }),
      { numRuns: 25 },
    );
  });

  it('grows its last record by a continuation, which takes room too', () => {
    const printk = log();
    printk.guest('\x016first');
    for (let i = 0; i < 3; i++) printk.guest('\x01c, more');
    printk.guest('\x01c\n');
    expect(texts(printk)).toEqual(['first, more, more, more']);
    for (let i = 0; i < 300; i++) printk.info('y'.repeat(800));
    expect(texts(printk)[0]).toBe('y'.repeat(800));
  });

  it('counts records for those who read on: since() gives what came after, as far as it is there', () => {
    const printk = log();
    printk.info('a');
    const from = printk.nextSeq;
    printk.info('b');
    expect(printk.since(from).map((r) => r.text)).toEqual(['b']);
    for (let i = 0; i < 5000; i++) printk.info(`${i}`);
    expect(printk.since(from)).toHaveLength(4096);
    expect(printk.since(printk.nextSeq)).toEqual([]);
  });
});
