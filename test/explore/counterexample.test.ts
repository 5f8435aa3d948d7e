// How a counterexample is drawn.

import { describe, expect, it } from 'vitest';
import { drawn } from '../../src/explore/counterexample.ts';

describe('a counterexample', () => {
  it('has a column a CPU, lines that fit, and under them the sentence', () => {
    const lines = [
      { cpu: 0, text: 'reader:5 klp_ftrace_handler()' },
      { cpu: 1, text: 'klp_start_transition() of a patch with a name that is rather long' },
      { cpu: 0, text: '*** reader:5 enters new' },
    ];
    const text = drawn(lines, [{ kind: 'gap', text: 'reader:5 runs new' }], 72);
    expect(text.split('\n')).toEqual([
      '  CPU 0                              CPU 1',
      '  -----                              -----',
      '  reader:5 klp_ftrace_handler()',
      '                                     klp_start_transition() of a patch',
      '                                       with a name that is rather long',
      '  *** reader:5 enters new',
      '',
      '  reader:5 runs new',
    ]);
  });
});
