// The vector registers of a state: how many there are of which size, one behind the other; behind zmm ones the masks.

import type { Form } from './form.ts';

export interface VectorShape {
  readonly count: number;
  readonly bytes: number;
  /** Of 8 bytes each. */
  readonly masks: number;
}

const NONE: VectorShape = { count: 0, bytes: 0, masks: 0 };
const SHAPES: Readonly<Record<string, VectorShape>> = {
  xmm: { count: 16, bytes: 16, masks: 0 },
  ymm: { count: 16, bytes: 32, masks: 0 },
  zmm: { count: 32, bytes: 64, masks: 8 },
};

export const shapeOf = ({ registers }: Form): VectorShape => SHAPES[registers] ?? NONE;

export const bytesOf = ({ count, bytes, masks }: VectorShape): number => count * bytes + 8 * masks;
