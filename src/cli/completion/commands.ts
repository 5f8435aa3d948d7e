// What there is to complete: each command with the commands below it, its options, and their values where they are few.

import type { Command } from 'commander';

export interface CompletedOption {
  /** `--seed`, `-q`: all of its forms. */
  readonly flags: readonly string[];
  /** In a line. */
  readonly description: string;
  /** A value comes behind it. */
  readonly takesValue: boolean;
  readonly choices: readonly string[];
}

export interface Completed {
  /** `bundle split`; empty for the program itself. */
  readonly path: string;
  readonly description: string;
  /** Names of commands below it. */
  readonly commands: readonly { readonly name: string; readonly description: string }[];
  readonly options: readonly CompletedOption[];
  /** Of its first argument: the words that it can be. */
  readonly words: readonly string[];
}

/** First arguments that are words. */
const WORDS: Readonly<Record<string, readonly string[]>> = { completion: ['bash', 'zsh', 'fish'] };

/** The program and all of its commands, the outer ones first. */
export function completed(root: Command): Completed[] {
  const all = (command: Command, path: string): Completed[] => {
    const own: Completed = {
      path,
      description: command.description(),
      commands: command.commands.map((each) => ({ name: each.name(), description: each.description() })),
      options: optionsOf(command),
      words: path === 'help' ? root.commands.map((each) => each.name()) : (WORDS[path] ?? []),
    };
    const below = command.commands.flatMap((each) => all(each, `${path} ${each.name()}`.trim()));
    return [own, ...below];
  };
  return all(root, '');
}

function optionsOf(command: Command): CompletedOption[] {
  const options = command.options
    .filter(({ hidden }) => !hidden)
    .map(({ short, long, description, required, argChoices }) => ({
      flags: [short, long].filter((flag): flag is string => flag !== undefined),
      description: description.replace(/\s+/g, ' '),
      takesValue: required,
      choices: argChoices ?? [],
    }));
  return [
    ...options,
    { flags: ['-h', '--help'], description: 'display help', takesValue: false, choices: [] },
  ];
}
