// What is worked out of an image once, and used by all machines that are made of it.
//
// Invariant: an image is not changed once it is assembled, and what was worked out of it is not either.

/** `make`, done once for each image. */
export function perImage<Image extends object, T>(make: (image: Image) => T): (image: Image) => T {
  const made = new WeakMap<Image, { readonly value: T }>();
  return (image) => {
    const known = made.get(image);
    if (known) return known.value;
    const value = make(image);
    made.set(image, { value });
    return value;
  };
}
