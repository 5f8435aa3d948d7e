// Completion for bash: a function that finds the command among the words, and answers by it.

import type { Completed } from './commands.ts';

const quoted = (words: readonly string[]): string =>
  `'${words.map((word) => word.replace(/'/g, '')).join('\n')}'`;

export function bash(commands: readonly Completed[]): string {
  return `# bash completion of klpemu

_klpemu() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD - 1]} command= word IFS=$'\\n'
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$command $word" in
${commands
  .filter(({ path }) => path !== '')
  .map(({ path }) => `      ${caseOf(path)}) command='${path}' ;;`)
  .join('\n')}
    esac
  done
  case "$command:$prev" in
${commands
  .flatMap(({ path, options }) =>
    options.filter(({ takesValue }) => takesValue).map((option) => ({ path, option })),
  )
  .map(({ path, option: { flags, choices } }) => {
    const pattern = flags.map((flag) => `'${path}:${flag}'`).join('|');
    const answer =
      choices.length > 0 ? `COMPREPLY=($(compgen -W ${quoted(choices)} -- "$cur"))` : 'COMPREPLY=()';
    return `    ${pattern}) ${answer}; return ;;`;
  })
  .join('\n')}
  esac
  case "$command" in
${commands
  .map(({ path, commands: below, options, words }) => {
    const flags = options.flatMap((option) => option.flags);
    const others = below.length > 0 ? below.map(({ name }) => name) : words;
    return `    '${path}')
      if [[ $cur == -* ]]; then COMPREPLY=($(compgen -W ${quoted(flags)} -- "$cur"))
      else COMPREPLY=(${others.length > 0 ? `$(compgen -W ${quoted(others)} -- "$cur")` : ''}); fi ;;`;
  })
  .join('\n')}
  esac
}

complete -o bashdefault -o default -F _klpemu klpemu
`;
}

/** What "$command $word" is where the word leads to the command. */
function caseOf(path: string): string {
  const at = path.lastIndexOf(' ');
  return at < 0 ? `' ${path}'` : `'${path.slice(0, at)} ${path.slice(at + 1)}'`;
}
