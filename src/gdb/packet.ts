// Packets of gdb's remote protocol: what lies between `$` and `#`, with its checksum, and what a debugger sends outside of
// one. Text is one character a byte. gdb's manual, appendix E.
//
// Invariant: whatever bytes come, each is taken once and nothing is thrown; what is no packet is asked for again or left out.

/** What has come. */
type Incoming =
  | { readonly packet: string }
  /** Its checksum is wrong. */
  | { readonly damaged: true }
  | { readonly ack: boolean }
  /** Ctrl-C. */
  | { readonly interrupt: true };

/** Longest packet, bytes, in either direction: what the debugger is told as PacketSize. */
export const PACKET_MAX = 1 << 16;

const [START, END, ESCAPE, ACK, NAK] = ['$', '#', '}', '+', '-'];
const INTERRUPT = '\x03';
const ESCAPED_BY = 32;

export class PacketReader {
  /** Of a packet that has begun: what follows `$`. */
  #text: string | undefined;

  /** @param bytes what has come, any part of anything */
  take(bytes: string): Incoming[] {
    const found: Incoming[] = [];
    let at = 0;
    while (at < bytes.length) {
      if (this.#text === undefined) {
        const outside = this.#outside(bytes[at++]);
        if (outside) found.push(outside);
        continue;
      }
      const from = bytes.slice(at);
      // In a packet it can only be the start of another one: the first never ended.
      const again = from.indexOf(START);
      const end = (this.#text + from).indexOf(END);
      const before = this.#text.length;
      if (again >= 0 && (end < 0 || before + again < end)) {
        this.#text = '';
        at += again + 1;
        found.push({ damaged: true });
        continue;
      }
      this.#text += from;
      if (end < 0) {
        if (this.#text.length > PACKET_MAX) this.#tooLong(found);
        return found;
      }
      if (this.#text.length < end + 3) return found;
      found.push(packetOf(this.#text.slice(0, end), this.#text.slice(end + 1, end + 3)));
      at += end + 3 - before;
      this.#text = undefined;
    }
    return found;
  }

  #tooLong(found: Incoming[]): void {
    this.#text = undefined;
    found.push({ damaged: true });
  }

  #outside(byte: string): Incoming | undefined {
    if (byte === START) this.#text = '';
    else if (byte === ACK || byte === NAK) return { ack: byte === ACK };
    else if (byte === INTERRUPT) return { interrupt: true };
    return undefined;
  }
}

function packetOf(raw: string, sum: string): Incoming {
  if (!/^[0-9a-f]{2}$/i.test(sum) || Number.parseInt(sum, 16) !== checksum(raw)) return { damaged: true };
  return { packet: unescaped(raw) };
}

function checksum(text: string): number {
  let sum = 0;
  for (let i = 0; i < text.length; i++) sum += text.charCodeAt(i);
  return sum % 256;
}

/** Bytes that mean something else in a packet are escaped, those of binary data among them. */
function unescaped(text: string): string {
  if (!text.includes(ESCAPE)) return text;
  let plain = '';
  for (let i = 0; i < text.length; i++) {
    if (text[i] === ESCAPE && i + 1 < text.length)
      plain += String.fromCharCode(text.charCodeAt(++i) ^ ESCAPED_BY);
    else plain += text[i];
  }
  return plain;
}

/** `*` too: in what the stub sends it would be a repetition. */
export function escaped(text: string): string {
  return text.replace(/[$#}*]/g, (byte) => ESCAPE + String.fromCharCode(byte.charCodeAt(0) ^ ESCAPED_BY));
}

/** @param text escaped where it needs to be */
export function framed(text: string): string {
  return `${START}${text}${END}${checksum(text).toString(16).padStart(2, '0')}`;
}
