// A command's help as a manual page, in the language of man(7).

import type { Command } from 'commander';

/** Backslashes, and what would begin a request; hyphens that are to be copied are minus signs. */
const plain = (text: string): string =>
  text
    .replace(/\\/g, '\\e')
    .replace(/-/g, '\\-')
    .replace(/^([.'])/gm, '\\&$1');
const bold = (text: string): string => `\\fB${plain(text)}\\fR`;

export function page(command: Command): string {
  const help = command.createHelp();
  const name = nameOf(command);
  const sections: [heading: string, lines: readonly string[]][] = [
    ['NAME', [`${plain(name.replace(/ /g, '-'))} \\- ${plain(command.description())}`]],
    ['SYNOPSIS', [bold(help.commandUsage(command))]],
    [
      'COMMANDS',
      help
        .visibleCommands(command)
        .flatMap((each) => item(help.subcommandTerm(each), help.subcommandDescription(each))),
    ],
    [
      'ARGUMENTS',
      help
        .visibleArguments(command)
        .flatMap((each) => item(help.argumentTerm(each), help.argumentDescription(each))),
    ],
    [
      'OPTIONS',
      help
        .visibleOptions(command)
        .flatMap((each) => item(help.optionTerm(each), help.optionDescription(each))),
    ],
    ...moreOf(command),
    ['SEE ALSO', [seeAlso(command)]],
  ];
  const body = sections
    .filter(([, lines]) => lines.some(Boolean))
    .map(([heading, lines]) => `.SH ${heading}\n${lines.join('\n')}\n`);
  const title = name.replace(/ /g, '-').toUpperCase();
  return `.TH "${plain(title)}" 1 "" "klpemu ${rootOf(command).version() ?? ''}" "klpemu"\n${body.join('')}`;
}

const item = (term: string, description: string): string[] => ['.TP', bold(term), plain(description)];

const rootOf = (command: Command): Command => (command.parent ? rootOf(command.parent) : command);
const nameOf = (command: Command): string =>
  command.parent ? `${nameOf(command.parent)} ${command.name()}` : command.name();

/** What stands behind the options in the help: text before its first heading, then a section a heading. */
function moreOf(command: Command): [string, string[]][] {
  const sections: [string, string[]][] = [['DESCRIPTION', ['.nf']]];
  for (const line of behindOptions(command).split('\n')) {
    const heading = /^(Exit codes|Examples?):\s*(.*)$/.exec(line);
    if (heading)
      sections.push([heading[1].toUpperCase(), ['.nf', ...(heading[2] ? [plain(heading[2])] : [])]]);
    else sections[sections.length - 1][1].push(plain(line));
  }
  return sections
    .map(([heading, lines]): [string, string[]] => [heading, [...trimmed(lines), '.fi']])
    .filter(([, lines]) => lines.length > 2);
}

function trimmed(lines: readonly string[]): string[] {
  const first = lines.findIndex((line, i) => i > 0 && line !== '');
  if (first < 0) return ['.nf'];
  const last = lines.findLastIndex((line) => line !== '');
  return ['.nf', ...lines.slice(first, last + 1)];
}

/** addHelpText() gives its text to whoever prints the help, and to nobody else. */
function behindOptions(command: Command): string {
  let text = '';
  const before = { ...command.configureOutput() };
  command.configureOutput({
    writeOut: (part) => {
      text += part;
    },
  });
  command.outputHelp();
  command.configureOutput(before);
  return text.slice(command.helpInformation().length);
}

function seeAlso(command: Command): string {
  const others = command.parent ? [command.parent] : [];
  const names = [...others, ...command.commands].map((each) => `${bold(nameOf(each).replace(/ /g, '-'))}(1)`);
  return names.join(', ');
}
