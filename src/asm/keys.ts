// How a symbol is named between reading and layout: with the scope it was used in, since the
// same name may be a function's label, a file's static symbol, or a global one.

/** Key of a symbol as seen from a file, or from a function for its labels. */
export const scopedKey = (scope: string, name: string): string => `${scope}\0${name}`;

export const nameOfKey = (key: string): string => key.slice(key.indexOf('\0') + 1);

/** `.L` and numeric labels are of the same function, so a branch to one may be short. */
export const isNearKey = (key: string): boolean => /^(\.L|\d+#)/.test(nameOfKey(key));
