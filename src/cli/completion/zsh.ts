// Completion for zsh: a function a command, in the words of _arguments.

import type { Completed, CompletedOption } from './commands.ts';

const quote = (text: string): string => `'${text.replace(/'/g, `'\\''`)}'`;
const functionOf = (path: string): string => `_klpemu${path ? `_${path.replace(/[ -]/g, '_')}` : ''}`;

export function zsh(commands: readonly Completed[]): string {
  return `#compdef klpemu

${commands.map(body).join('\n')}
if [[ $funcstack[1] == _klpemu ]]; then _klpemu "$@"; else compdef _klpemu klpemu; fi
`;
}

function body({ path, commands, options, words }: Completed): string {
  const lines = options.map((option) => `    ${argument(option)}`);
  if (commands.length === 0) {
    const operand = words.length > 0 ? `'1:word:(${words.join(' ')})'` : "'*:file:_files'";
    return `${functionOf(path)}() {\n  _arguments \\\n${[...lines, `    ${operand}`].join(' \\\n')}\n}\n`;
  }
  const below = commands.map(({ name, description }) => `    ${quote(`${name}:${description}`)}`);
  const calls = commands.map(({ name }) => `    ${name}) ${functionOf(`${path} ${name}`.trim())} ;;`);
  return `${functionOf(path)}() {
  local state line
  local -a commands=(
${below.join('\n')}
  )
  _arguments -C \\
${[...lines, "    '1: :->command'", "    '*:: :->rest'"].join(' \\\n')}
  case $state in
    command) _describe command commands ;;
    rest) case $line[1] in
${calls.join('\n')}
    esac ;;
  esac
}
`;
}

function argument({ flags, description, takesValue, choices }: CompletedOption): string {
  const text = description.replace(/[[\]:\\]/g, '\\$&');
  const values = choices.map((choice) => choice.replace(/ /g, '\\ ')).join(' ');
  const value = takesValue ? `:value:${choices.length > 0 ? `(${values})` : '_files'}` : '';
  const spec = quote(`[${text}]${value}`);
  return flags.length > 1 ? `'(${flags.join(' ')})'{${flags.join(',')}}${spec}` : `${flags[0]}${spec}`;
}
