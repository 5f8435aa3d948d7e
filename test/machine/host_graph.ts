// Two machines compared as they are in the host's memory: every object that is reached from them, private fields and the
// variables of closures too, which V8's inspector tells.
//
// Not seen: what a closure reaches by its `this` alone. Who keeps something there is given beside the machine.

import { Session } from 'node:inspector';

type Named = readonly [name: string, value: unknown];

interface Pair {
  readonly a: unknown;
  readonly b: unknown;
  readonly path: string;
}

interface Property {
  readonly name: string;
  readonly value?: {
    type: string;
    value?: unknown;
    unserializableValue?: string;
    objectId?: string;
    description?: string;
  };
}

/** Scopes of a closure that are not of a module: those are the same for all machines. */
const OWN_SCOPE = /^(?:Closure|Block|With|Catch|Local)/;
/** Arrays that are parts of guest memory are compared by themselves. */
const MOST_BYTES = 1 << 20;

/** A line for each difference: a path, and what is there in each. */
export function differencesOf(first: object, second: object, isLeftOut: (path: string) => boolean): string[] {
  const inside = new Inside();
  const [seen, back] = [new Map<unknown, unknown>(), new Map<unknown, unknown>()];
  const found: string[] = [];
  const left: Pair[] = [{ a: first, b: second, path: '' }];
  // In breadth, so that paths are short.
  for (let at = 0; at < left.length; at++) {
    const { a, b, path } = left[at];
    if (Object.is(a, b) || isLeftOut(path)) continue;
    if (!isObject(a) || !isObject(b) || Object.getPrototypeOf(a) !== Object.getPrototypeOf(b)) {
      found.push(`${path}: ${shown(a)}, ${shown(b)}`);
      continue;
    }
    if (seen.has(a) || back.has(b)) {
      if (seen.get(a) !== b) found.push(`${path}: another object`);
      continue;
    }
    seen.set(a, b);
    back.set(b, a);
    if (isBytes(a)) {
      if (ArrayBuffer.isView(a) && !sameBytes(a, b as ArrayBufferView)) found.push(`${path}: other bytes`);
      continue;
    }
    const [ofA, ofB] = [partsOf(a, inside), partsOf(b, inside)];
    if (ofA.length !== ofB.length) found.push(`${path}: ${ofA.length} parts, ${ofB.length}`);
    ofA.slice(0, ofB.length).forEach(([name, value], i) => {
      const [other, there] = ofB[i];
      if (name === other) left.push({ a: value, b: there, path: `${path}${name}` });
      else found.push(`${path}: ${name}, ${other}`);
    });
  }
  inside.close();
  return found.sort();
}

const isObject = (value: unknown): value is object =>
  (typeof value === 'object' && value !== null) || typeof value === 'function';
const isBytes = (value: object): boolean =>
  ArrayBuffer.isView(value) || value instanceof ArrayBuffer || value instanceof WebAssembly.Memory;
const shown = (value: unknown): string =>
  isObject(value) ? (value.constructor?.name ?? 'object') : String(value).slice(0, 60);

function sameBytes(a: ArrayBufferView, b: ArrayBufferView): boolean {
  if (a.byteLength !== b.byteLength) return false;
  const bytes = ({ buffer, byteOffset, byteLength }: ArrayBufferView) =>
    Buffer.from(buffer, byteOffset, byteLength);
  return a.byteLength > MOST_BYTES || bytes(a).equals(bytes(b));
}

/** In an order that is the same for the same doings. */
function partsOf(of: object, inside: Inside): Named[] {
  const parts: Named[] = [];
  if (of instanceof Map)
    [...of].forEach(([key, value], i) => {
      if (isObject(key)) parts.push([`<key ${i}>`, key], [`<value ${i}>`, value]);
      else parts.push([`<${String(key)}>`, value]);
    });
  if (of instanceof Set) parts.push(...[...of].map((value, i): Named => [`<${i}>`, value]));
  for (const name of Object.getOwnPropertyNames(of)) {
    if (typeof of === 'function' && (name === 'arguments' || name === 'caller')) continue;
    const { value, get } = Object.getOwnPropertyDescriptor(of, name) as PropertyDescriptor;
    parts.push([`.${name}`, get ?? value]);
  }
  const prototype = Object.getPrototypeOf(of);
  if (prototype !== Object.prototype && prototype !== null && !Array.isArray(of))
    parts.push(...inside.partsOf(of));
  return parts;
}

/** What the language keeps from others, by the inspector of this process. */
class Inside {
  readonly #session = new Session();
  readonly #here = globalThis as unknown as { looked: unknown; values: unknown[] };

  constructor() {
    this.#session.connect();
  }

  close(): void {
    this.#session.disconnect();
  }

  /** Private fields, and variables of a function's scopes. */
  partsOf(of: object): Named[] {
    this.#here.looked = of;
    const { result } = this.#post('Runtime.evaluate', {
      expression: 'globalThis.looked',
      objectGroup: 'looked',
    });
    const { privateProperties = [], internalProperties = [] } = this.#properties(result.objectId);
    const parts = this.#values(privateProperties).map(([name, value]): Named => [`.${name}`, value]);
    const scopes = (internalProperties as Property[]).find(({ name }) => name === '[[Scopes]]');
    if (scopes?.value?.objectId) {
      const own = (this.#properties(scopes.value.objectId).result as Property[]).filter(({ value }) =>
        OWN_SCOPE.test(value?.description ?? ''),
      );
      own.forEach(({ value }, i) => {
        const variables = this.#values(this.#properties(value?.objectId).result);
        parts.push(...variables.map(([name, there]): Named => [`{${i} ${name}}`, there]));
      });
    }
    this.#post('Runtime.releaseObjectGroup', { objectGroup: 'looked' });
    return parts;
  }

  #properties(objectId: string | undefined) {
    return this.#post('Runtime.getProperties', { objectId, ownProperties: true });
  }

  /** The values themselves. */
  #values(properties: readonly Property[]): Named[] {
    const named = properties.filter(({ value }) => value !== undefined);
    const ids = named.flatMap(({ value }) => (value?.objectId ? [{ objectId: value.objectId }] : []));
    if (ids.length > 0)
      this.#post('Runtime.callFunctionOn', {
        ...ids[0],
        functionDeclaration: 'function (...values) { globalThis.values = values; }',
        arguments: ids,
      });
    let at = 0;
    return named.map(({ name, value }) => [
      name,
      value?.objectId ? this.#here.values[at++] : (value?.unserializableValue ?? value?.value),
    ]);
  }

  // biome-ignore lint/suspicious/noExplicitAny: what each method answers is told by the protocol alone
  #post(method: string, parameters: object): any {
    let answer: unknown;
    this.#session.post(method, parameters, (error, result) => {
      if (error) throw new Error(`${method}: ${error.message}`);
      answer = result;
    });
    return answer;
  }
}
