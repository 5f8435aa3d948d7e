# #XM, an exception of SSE that MXCSR does not mask. Mirrors exc_simd_coprocessor_error() of arch/x86/kernel/traps.c.
# At the end of the image, so that the addresses of what was there stay what they are.

.section .text

IDTENTRY asm_exc_simd_coprocessor_error, exc_simd_coprocessor_error, far=1
EXCEPTION exc_simd_coprocessor_error, math_error, traced=1
