// What a kernel calls itself: its release, and the string by which it knows modules that were built for it.
// Mirrors init/version.c (linux_banner) and kernel/module/main.c (vermagic).
//
// Invariant: both are read from the file, and are there as a whole, or there is an error; nothing is made up of a part.

import type { LinkedKernel } from './linked_kernel.ts';

const BANNER = 'Linux version ';
/** UTS_RELEASE has 64 bytes with its NUL. */
const RELEASE = /^[0-9]+\.[0-9]+[-+.\w~]*$/;
const LONGEST_RELEASE = 64;
const LONGEST_VERMAGIC = 256;

interface KernelIdentity {
  /** `6.1.0-56-amd64` */
  readonly release: string;
  /** VERMAGIC_STRING, with the space at its end. */
  readonly vermagic: string;
  /** linux_banner, as /proc/version has it. */
  readonly banner: string;
}

/** @throws ElfError */
export function kernelIdentity(kernel: LinkedKernel): KernelIdentity {
  const banner = findText(kernel, BANNER, 2048, (text) => {
    const release = text.slice(BANNER.length).split(' ', 1)[0];
    // The image may have it twice: weak, from before the last link, when the build had no number yet.
    return (
      / #\d/.test(text) && text.endsWith('\n') && release.length < LONGEST_RELEASE && RELEASE.test(release)
    );
  });
  if (banner === undefined)
    throw kernel.error('it does not say which kernel it is: there is no linux_banner');
  const release = banner.slice(BANNER.length).split(' ', 1)[0];
  const start = `${release} `;
  const vermagic = findText(
    kernel,
    start,
    LONGEST_VERMAGIC,
    (text) => text.endsWith(' ') && text.includes(' mod_unload '),
  );
  if (vermagic === undefined) throw kernel.error(`${release} has no vermagic: it takes no modules`);
  return { release, vermagic, banner };
}

/** The first string of the read-only data that begins so and is one by its looks. */
function findText(
  kernel: LinkedKernel,
  start: string,
  longest: number,
  isIt: (text: string) => boolean,
): string | undefined {
  for (const section of kernel.loaded) {
    if (section.isText) continue;
    const data = kernel.data(section);
    const bytes = Buffer.from(data.buffer, data.byteOffset, data.length);
    for (let at = bytes.indexOf(start, 0, 'latin1'); at >= 0; at = bytes.indexOf(start, at + 1, 'latin1')) {
      const end = bytes.indexOf(0, at);
      if (end < 0 || end - at > longest) continue;
      const text = bytes.toString('latin1', at, end);
      if (isIt(text)) return text;
    }
  }
  return undefined;
}
