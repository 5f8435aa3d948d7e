// Options of a command line, as getopt_long() reads them.

interface Options {
  /** Letters and long names that were given. */
  readonly flags: ReadonlySet<string>;
  /** Values of those that take one. */
  readonly values: ReadonlyMap<string, string>;
  readonly operands: readonly string[];
  /** The first that is none of the command's. */
  readonly unknown: string | undefined;
}

/**
 * @param flags names of options without a value: letters and `--long` ones without the dashes
 * @param valued names of those with one
 * @param options.numbers `-5` is an option, the value of `n`
 */
export function parseOptions(
  args: readonly string[],
  flags: readonly string[],
  valued: readonly string[] = [],
  options: { numbers?: boolean } = {},
): Options {
  const found = new Set<string>();
  const values = new Map<string, string>();
  const operands: string[] = [];
  let unknown: string | undefined;
  for (let i = 0; i < args.length; i++) {
    const arg = args[i];
    if (arg === '--') {
      operands.push(...args.slice(i + 1));
      break;
    }
    if (options.numbers && /^-\d+$/.test(arg)) values.set('n', arg.slice(1));
    else if (arg.startsWith('--')) {
      const [name, value] = splitOnce(arg.slice(2), '=');
      if (flags.includes(name) && value === undefined) found.add(name);
      else if (valued.includes(name)) values.set(name, value ?? args[++i] ?? '');
      else unknown ??= arg;
    } else if (arg.startsWith('-') && arg.length > 1) {
      for (let at = 1; at < arg.length; at++) {
        const letter = arg[at];
        if (flags.includes(letter)) found.add(letter);
        else if (valued.includes(letter)) {
          values.set(letter, arg.slice(at + 1) || (args[++i] ?? ''));
          break;
        } else unknown ??= `-${letter}`;
      }
    } else operands.push(arg);
  }
  return { flags: found, values, operands, unknown };
}

function splitOnce(text: string, at: string): [string, string | undefined] {
  const index = text.indexOf(at);
  return index < 0 ? [text, undefined] : [text.slice(0, index), text.slice(index + 1)];
}
