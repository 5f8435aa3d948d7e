// Turns the kernel's livepatch selftests into scripts that drive the emulated machine: where a command or a path is the
// machine's, it is led there. What is tested and what is expected stays as it is.

/** Each rule with the reason why bash functions alone (guest.sh) do not do. */
const RULES = [
  // A redirection is the shell's own.
  { from: / > (\/(?:dev\/kmsg|sys\/\S+|proc\/\S+))/g, to: ' | guest_write $1' },
  // So is [[ -e ]].
  { from: /\[\[ (! )?-e ("[^"]*"|[^\s"]+) \]\]/g, to: '$1guest_exists $2' },
  // A command with a slash in its name is never a function.
  { from: /\/bin\/stat\b/g, to: 'stat' },
];

/** One script; functions.sh also gets the functions of guest.sh. */
export function rewrite(name, text) {
  let out = text;
  for (const { from, to } of RULES) out = out.replace(from, to);
  if (name !== 'functions.sh') return out;
  return out.replace(/^(?!#)/m, '. "$(dirname "$0")/guest.sh"\n');
}

/** Names of the tests in a script, in order. */
export function testNames(text) {
  return [...text.matchAll(/^start_test "([^"]*)"/gm)].map(([, name]) => name);
}
