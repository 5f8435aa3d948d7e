// The classes of frame_map.ts that are about the frame pointer, by what a disassembler calls it on the port.

import { FP_NAME } from './target.ts';

export const FP_SAVED = `${FP_NAME} saved, not yet set` as const;
export const FP_ELSEWHERE = `${FP_NAME} holds something else` as const;
export const NOTICED_BY_FP = `a call without a frame, noticed by where ${FP_NAME} leads` as const;
