// What is known of places in Debian's kernels where two tables differ, or a table differs from the truth: why.
//
// Invariant: a page says of a place that is not here that nobody has explained it.

import type { Explanation } from './explanation.ts';
import { IMAGE_ANSWERS, IMAGE_TABLES } from './known_images.ts';

/** A kernel is linked in another way: images have explanations of their own. */
const ANY_MODULE = /^(?!vmlinu)/;

const OF_MODULES: readonly Explanation[] = [
  {
    object: /^vmwgfx$/,
    place: /^(?:__pfx_)?vmw_(?:send|recv)_msg(?:\.cold)?$/,
    why:
      'The function puts %rbp to another use to talk to the hypervisor. The source marks it ' +
      'STACK_FRAME_NON_STANDARD (up to 6.12: both; 6.18 and later: vmw_recv_msg), or a part of it UNWIND_HINT_UNDEFINED ' +
      '(6.18 and later: vmw_send_msg); the mark was in a .discard section. Our table has answers, true ones.',
  },
  {
    object: ANY_MODULE,
    place: /^\.(?:text|init\.text|exit\.text)\+0x[0-9a-f]+$/,
    reason: /lost its symbol/,
    why:
      'A weak function that another one overrides: linking the module took its symbol and left its code, which ' +
      'nothing calls. From 6.12 on objtool runs behind that link, and sees no function; we find it by its call to ' +
      '__fentry__.',
  },
];

const OF_TABLES: readonly Explanation[] = [...OF_MODULES, ...IMAGE_TABLES];

const OF_ANSWERS: readonly Explanation[] = [
  {
    object: /^kvm-amd$/,
    place: /^__svm_(?:sev_es_)?vcpu_run$/,
    why:
      'Two ways to fill the return stack buffer, of different lengths, share the rows of one (6.1, docs/findings.md). And ' +
      "the guest's rbp is loaded, from memory, which objtool takes for no change of the frame (6.12 and later). The text is " +
      '.noinstr.text, interrupts are off: only an NMI could ask there.',
  },
  {
    object: /^kvm-(?:intel|amd)$/,
    place: /^__(?:vmx|svm)_vcpu_run$/,
    why:
      "The guest's rbp is loaded, from memory, which objtool takes for no change of the frame: the table goes on by " +
      '%rbp until it is popped. The text is .noinstr.text, interrupts are off: only an NMI could ask there.',
  },
  {
    object: /poly1305/,
    place: /^poly1305_blocks_avx$/,
    why:
      'The stack pointer is moved up, above the return address, by `sub $-8` behind `and $-32`: the frame that the ' +
      'entry leads to is true, and not above the stack pointer.',
  },
  ...OF_MODULES,
  ...IMAGE_ANSWERS,
];

const nameOf = (file: string): string => (file.split('/').at(-1) ?? file).replace(/\.ko(?:\.\w+)?$/, '');

const find = (all: readonly Explanation[], file: string, place: string, said?: string): string | undefined =>
  all.find(({ object, place: places, reason }) => {
    if (!object.test(nameOf(file)) || !places.test(place)) return false;
    return said === undefined || reason === undefined || reason.test(said);
  })?.why;

/** Why the two tables differ there, of which klpemu gives that reason. */
export const whyTablesDiffer = (file: string, place: string, reason: string): string | undefined =>
  find(OF_TABLES, file, place, reason);

/** Why the table is not true there. */
export const whyAnswersAreWrong = (file: string, place: string): string | undefined =>
  find(OF_ANSWERS, file, place);
