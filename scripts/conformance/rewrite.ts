// Turns the kernel's livepatch selftests into scripts that drive the emulated machine: where a command or a path is the
// machine's, it is led there. What is tested and what is expected stays as it is: texts in quotes are left alone.

/** A redirection is the shell's own: no function can take its place. Later kernels have their directories in variables. */
const REDIRECTION = /[ \t]> (\/(?:dev\/kmsg|sys\/\S+|proc\/\S+)|"\$SYSFS_\w+[^"]*")/y;
/** What is redirected, when that is all of its line: an echo of one word. */
const ECHO = /(?<=^\s*)echo ((?:-n )?(?:"[^"]*"|[\w.]+))$/;
/** These also stand in quotes, as text that is to be evaluated. */
const ANYWHERE = [
  // A condition is the shell's own too.
  { from: /\[\[ (! )?-e ("[^"]*"|[^\s"]+) \]\]/g, to: '$1guest_exists $2' },
  { from: /\[\[ -f ("\$\w*SYSFS_[^"]*") \]\]/g, to: 'guest test -f $1' },
  // Names of a directory.
  { from: /=\((\/sys\/[\w/]+|\$SYSFS_\w+)\/\*\)/g, to: '=($(guest_names $1))' },
  // A command with a slash in its name is never a function.
  { from: /\/bin\/stat\b/g, to: 'stat' },
  // A program of the host is none of the machine's: it has one that does the same.
  { from: /\.\/test_klp-call_getpid &/g, to: 'guest_start syscalls' },
  { from: /"\$!"/g, to: '"$GUEST_PID"' },
];

/** One script; functions.sh also gets the functions of guest.sh. */
export function rewrite(name: string, text: string): string {
  let out = redirect(text);
  for (const { from, to } of ANYWHERE) out = out.replace(from, to);
  if (name !== 'functions.sh') return out;
  return out.replace(/^(?!#)/m, '. "$(dirname "$0")/guest.sh"\n');
}

/** Redirections outside quotes and comments become pipes, or what takes the text itself. */
function redirect(text: string): string {
  let out = '';
  let quote = '';
  for (let at = 0; at < text.length; ) {
    const c = text[at];
    REDIRECTION.lastIndex = at;
    const found = quote === '' && REDIRECTION.exec(text);
    let end = at + 1;
    if (found) {
      const echo = ECHO.exec(out.slice(out.lastIndexOf('\n') + 1));
      if (echo) out = `${out.slice(0, -echo[0].length)}guest_echo ${found[1]} ${echo[1]}`;
      else out += ` | guest_write ${found[1]}`;
      at += found[0].length;
      continue;
    }
    if (c === '\\' && quote !== "'") end++;
    else if (quote === '' && c === '#' && /\s/.test(text[at - 1] ?? '\n')) end = lineEnd(text, at);
    else if (quote === c) quote = '';
    else if (quote === '' && (c === '"' || c === "'")) quote = c;
    out += text.slice(at, end);
    at = end;
  }
  return out;
}

function lineEnd(text: string, at: number): number {
  const end = text.indexOf('\n', at);
  return end < 0 ? text.length : end;
}

/** Names of the tests in a script, in order. */
export function testNames(text: string): string[] {
  return [...text.matchAll(/^\t*start_test "([^"]*)"/gm)].map(([, name]) => name);
}
