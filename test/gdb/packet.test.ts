import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { escaped, framed, PACKET_MAX, PacketReader } from '../../src/gdb/packet.ts';

const reading = (...parts: string[]) => {
  const reader = new PacketReader();
  return parts.flatMap((part) => reader.take(part));
};

/** Any text of bytes. */
const bytes = fc.uint8Array({ maxLength: 200 }).map((array) => String.fromCharCode(...array));

describe('packets', () => {
  it('are read whole, whatever they hold and wherever they are cut', () => {
    fc.assert(
      fc.property(fc.array(bytes, { maxLength: 5 }), fc.integer({ min: 1, max: 17 }), (texts, size) => {
        const stream = texts.map((text) => framed(escaped(text))).join('');
        const parts = stream.match(new RegExp(`[^]{1,${size}}`, 'g')) ?? [];
        expect(reading(...parts)).toEqual(texts.map((packet) => ({ packet })));
      }),
    );
  });

  it('have the checksum of what is sent, escapes and all', () => {
    expect(framed('OK')).toBe('$OK#9a');
    expect(escaped('a#b$c}d*')).toBe('a}\x03b}\x04c}]d}\x0a');
  });

  it('with a wrong checksum are damaged, and the next one is whole', () => {
    expect(reading('$OK#00$OK#9a')).toEqual([{ damaged: true }, { packet: 'OK' }]);
    expect(reading('$OK#zz$g#67')).toEqual([{ damaged: true }, { packet: 'g' }]);
  });

  it('that never end are given up for the one that begins', () => {
    expect(reading('$m0,', '$g#67')).toEqual([{ damaged: true }, { packet: 'g' }]);
  });

  it('that are too long are given up', () => {
    expect(reading(`$${'a'.repeat(PACKET_MAX + 1)}`)).toEqual([{ damaged: true }]);
  });

  it('have acknowledgements and interrupts between them', () => {
    expect(reading('+-\x03$g#67+')).toEqual([
      { ack: true },
      { ack: false },
      { interrupt: true },
      { packet: 'g' },
      { ack: true },
    ]);
  });

  it('are found behind any rubbish that no packet begins in', () => {
    fc.assert(
      fc.property(bytes, (rubbish) => {
        const clean = rubbish.replaceAll('$', '');
        expect(reading(clean, '$g#67').at(-1)).toEqual({ packet: 'g' });
      }),
    );
  });
});
