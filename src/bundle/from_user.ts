// The rules for user space that does the kernel's work: which patch modules may join a target that it has paused, and
// when the target may come to life.
//
// Invariant: what joins is the very file that the bundle was enabled with, on top of the members of older bundles.

import type { Bundle, Member } from './bundle.ts';
import { BundleError } from './error.ts';
import { sha256 } from './format.ts';

interface Place {
  readonly bundle: Bundle;
  readonly member: Member;
}

/** The oldest of the enabled bundles' members for an object that is not live. */
export function firstMissing(bundles: readonly Bundle[], object: string): Place | undefined {
  for (const bundle of bundles) {
    const member = bundle.memberFor(object);
    if (member && !member.module) return { bundle, member };
  }
  return undefined;
}

export function placeText({ bundle, member }: Place): string {
  return `member '${member.spec.module}' of bundle '${bundle.name}'`;
}

/**
 * Whose member a patch module for a paused object is.
 * @param bundles enabled, oldest first
 * @throws BundleError EINVAL, EBADMSG for another file of its name, EAGAIN for one that comes too early
 */
export function placeOf(
  bundles: readonly Bundle[],
  object: string,
  module: string,
  bytes: Uint8Array,
): Place {
  const places = bundles.flatMap((bundle): Place[] => {
    const member = bundle.memberFor(object);
    return member?.spec.module === module && !member.module ? [{ bundle, member }] : [];
  });
  const [place] = places;
  if (!place)
    throw new BundleError(
      'EINVAL',
      `'${module}' is no member of an enabled bundle for '${object}', which is paused`,
    );
  if (sha256(bytes) !== place.member.spec.sha256)
    throw new BundleError('EBADMSG', `the file of ${placeText(place)} is not the one of the bundle`);
  const first = firstMissing(bundles, object);
  if (first && first.member !== place.member)
    throw new BundleError('EAGAIN', `${placeText(first)} comes before ${placeText(place)}`);
  return place;
}
