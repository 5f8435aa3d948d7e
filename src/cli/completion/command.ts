// The options of klpemu completion; the work is loaded when it is called.

import type { Command } from 'commander';

export function addCompletion(root: Command): void {
  root
    .command('completion')
    .description('print what makes a shell complete commands, options and their values')
    .argument('<shell>', 'bash, zsh or fish')
    .addHelpText(
      'after',
      `
To have it in every shell:
  bash  klpemu completion bash > ~/.local/share/bash-completion/completions/klpemu
  zsh   klpemu completion zsh > ~/.zfunc/_klpemu, with fpath+=~/.zfunc before compinit
  fish  klpemu completion fish > ~/.config/fish/completions/klpemu.fish

Exit codes:
  0  done
  2  bad usage

Example:
  source <(klpemu completion bash)`,
    )
    .action(async (shell: string) => (await import('./completion.ts')).completion(root, shell));
}
