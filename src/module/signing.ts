// The signature that is appended to a module: looked for and taken off, never verified.
// Mirrors module_sig_check(), mod_verify_sig() of kernel/module/signing.c and mod_check_sig() of kernel/module_signature.c.
//
// There are no keys here: a module whose signature is of the right form counts as one whose key is unavailable.

import type { KernelCore } from '../kernel/core.ts';
import { ModuleError } from './error.ts';

/** MODULE_SIG_STRING */
const MARKER = '~Module signature appended~\n';
/** Of struct module_signature, in bytes: which algorithms, what kind of identifier, lengths that PKCS#7 does not use, padding. */
const [ID_TYPE, PARAMS] = [2, [0, 1, 3, 4, 5, 6, 7]];
const PKEY_ID_PKCS7 = 2;

interface Checked {
  readonly bytes: Uint8Array;
  /** Why its signature does not count. */
  readonly reason: string;
}

/**
 * @param isMangled it is to be loaded without its versions: its signature is not looked at, and stays
 * @param enforced module.sig_enforce
 * @returns the module without its signature
 * @throws ModuleError EKEYREJECTED where only signed modules are loaded, EBADMSG for what is marked as a signature and is none
 */
export function moduleSigCheck(
  core: KernelCore,
  bytes: Uint8Array,
  isMangled: boolean,
  enforced: boolean,
): Uint8Array {
  const end = bytes.length - MARKER.length;
  const isMarked = end > 0 && Buffer.from(bytes.subarray(end)).toString('latin1') === MARKER;
  const checked =
    isMarked && !isMangled
      ? withoutSignature(core, bytes.subarray(0, end))
      : { bytes, reason: 'unsigned module' };
  if (!enforced) return checked.bytes;
  core.printk.notice(`Loading of ${checked.reason} is rejected`);
  throw new ModuleError('EKEYREJECTED', `Loading of ${checked.reason} is rejected`);
}

/** mod_verify_sig() */
function withoutSignature({ kernel, printk }: KernelCore, bytes: Uint8Array): Checked {
  const { size, fields } = kernel.structs.module_signature;
  const end = bytes.length - size;
  if (end <= 0) throw new ModuleError('EBADMSG', 'a module that is no longer than its signature');
  const signature = new DataView(bytes.buffer, bytes.byteOffset + end, size);
  const length = signature.getUint32(fields.sig_len);
  if (length >= end)
    throw new ModuleError('EBADMSG', `a signature of ${length} bytes behind a module of ${end}`);
  if (signature.getUint8(ID_TYPE) !== PKEY_ID_PKCS7) {
    printk.err('module: not signed with expected PKCS#7 message');
    return { bytes, reason: 'module with unsupported crypto' };
  }
  if (PARAMS.some((at) => signature.getUint8(at) !== 0)) {
    const reason = 'module: PKCS#7 signature info has unexpected non-zero params';
    printk.err(reason);
    throw new ModuleError('EBADMSG', reason);
  }
  return { bytes: bytes.subarray(0, end - length), reason: 'module with unavailable key' };
}
