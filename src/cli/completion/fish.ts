// Completion for fish: a line an option and a command, with the words that must stand before it.

import type { Completed, CompletedOption } from './commands.ts';

const quote = (text: string): string => `'${text.replace(/\\/g, '\\\\').replace(/'/g, "\\'")}'`;

export function fish(commands: readonly Completed[]): string {
  const lines = commands.flatMap((command) => {
    const seen = condition(command);
    const below = command.commands.map(
      ({ name, description }) => `complete -c klpemu -n ${seen} -f -a ${name} -d ${quote(description)}`,
    );
    const words = command.words.map((word) => `complete -c klpemu -n ${seen} -f -a ${word}`);
    return [
      ...below,
      ...words,
      ...command.options.map((option) => `complete -c klpemu -n ${seen}${optionOf(option)}`),
    ];
  });
  return `# fish completion of klpemu\n\n${lines.join('\n')}\n`;
}

/** The words of the command are there, and none of a command below it. */
function condition({ path, commands }: Completed): string {
  const words = path === '' ? [] : path.split(' ').map((word) => `__fish_seen_subcommand_from ${word}`);
  if (commands.length > 0) {
    words.push(`not __fish_seen_subcommand_from ${commands.map(({ name }) => name).join(' ')}`);
  }
  return quote(words.join('; and '));
}

function optionOf({ flags, description, takesValue, choices }: CompletedOption): string {
  const names = flags
    .map((flag) => (flag.startsWith('--') ? ` -l ${flag.slice(2)}` : ` -s ${flag.slice(1)}`))
    .join('');
  const values =
    choices.length > 0
      ? ` -x -a ${quote(choices.map((choice) => choice.replace(/ /g, '\\ ')).join(' '))}`
      : ' -r';
  return `${names} -d ${quote(description)}${takesValue ? values : ''}`;
}
