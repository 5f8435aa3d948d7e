// A YAML document that knows where each of its values stands.

import {
  type Document,
  isMap,
  isNode,
  isPair,
  isScalar,
  isSeq,
  LineCounter,
  type Pair,
  parseDocument,
} from 'yaml';
import { type Place, type Problem, ScenarioError } from './error.ts';

export type Path = readonly (string | number)[];

/** `steps[2].write.to` */
export function pathText(path: Path): string {
  let text = '';
  for (const key of path) {
    if (typeof key === 'number') text += `[${key}]`;
    else if (/^\w+$/.test(key)) text += text === '' ? key : `.${key}`;
    else text += `['${key}']`;
  }
  return text;
}

export class YamlSource {
  readonly file: string;
  readonly value: unknown;
  readonly #document: Document;
  readonly #lines = new LineCounter();

  /** @throws ScenarioError with every syntax error of the text. */
  constructor(text: string, file: string) {
    this.file = file;
    this.#document = parseDocument(text, { lineCounter: this.#lines, prettyErrors: false, version: '1.2' });
    const problems: Problem[] = [...this.#document.errors, ...this.#document.warnings].map((error) => ({
      place: this.#placeAt(error.pos[0]),
      path: '',
      reason: error.message,
    }));
    if (problems.length > 0) throw new ScenarioError(problems);
    this.value = this.#toJs();
  }

  #toJs(): unknown {
    try {
      return this.#document.toJS({ maxAliasCount: 100 });
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new ScenarioError([{ place: { file: this.file, line: 1, column: 1 }, path: '', reason }]);
    }
  }

  /** Where a value stands; a value that is not there is where the deepest part of its path is. */
  place(path: Path): Place {
    let at: unknown = this.#document.contents;
    let offset = offsetOf(at);
    for (const key of path) {
      const next = this.#child(at, key);
      if (next === undefined) break;
      at = next;
      offset = offsetOf(at) ?? offset;
    }
    return this.#placeAt(offset ?? 0);
  }

  /** Where the key of a map's entry stands. */
  keyPlace(path: Path): Place {
    const key = path.at(-1);
    const parent = this.#node(path.slice(0, -1));
    if (isMap(parent)) {
      const pair = parent.items.find((item) => keyOf(item) === String(key));
      const offset = offsetOf(pair?.key);
      if (offset !== undefined) return this.#placeAt(offset);
    }
    return this.place(path);
  }

  problem(path: Path, reason: string): Problem {
    return { place: this.place(path), path: pathText(path), reason };
  }

  #node(path: Path): unknown {
    let at: unknown = this.#document.contents;
    for (const key of path) at = this.#child(at, key);
    return at;
  }

  #child(node: unknown, key: string | number): unknown {
    const at = this.#resolve(node);
    if (isSeq(at)) return at.items[Number(key)];
    if (isMap(at)) return at.items.find((item) => keyOf(item) === String(key))?.value ?? undefined;
    return undefined;
  }

  #resolve(node: unknown): unknown {
    return isNode(node) && 'source' in node && 'resolve' in node
      ? (node.resolve as (doc: Document) => unknown)(this.#document)
      : node;
  }

  #placeAt(offset: number): Place {
    const { line, col } = this.#lines.linePos(offset);
    return { file: this.file, line: Math.max(line, 1), column: Math.max(col, 1) };
  }
}

function keyOf(pair: Pair): string {
  return isScalar(pair.key) ? String(pair.key.value) : String(pair.key);
}

function offsetOf(node: unknown): number | undefined {
  if (isPair(node)) return offsetOf(node.key);
  return isNode(node) ? node.range?.[0] : undefined;
}
