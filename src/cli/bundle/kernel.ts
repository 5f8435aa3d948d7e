// Which kernel's structures the modules of a bundle have.

import { ElfError } from '../../elf/error.ts';
import { describeFile } from '../../kernel/describe.ts';
import { BUILT_IN, type KernelDescription } from '../../kernel/description.ts';
import { KernelFileError, kernelPath } from '../../machine/native/find.ts';
import { UsageError } from '../exit.ts';
import { openKernel } from '../kernel_input.ts';

/** @throws UsageError */
export function layoutOf(kernel: string | undefined): KernelDescription {
  if (kernel === undefined) return BUILT_IN;
  try {
    return describeFile(openKernel(kernelPath(kernel)).kernel).description;
  } catch (error) {
    if (error instanceof ElfError || error instanceof KernelFileError) throw new UsageError(error.message);
    throw error;
  }
}
