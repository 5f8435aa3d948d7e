// klpemu help: of the program, of a command, and of what has no command of its own.

import type { Command } from 'commander';
import { BUILT_IN } from '../../kernel/description.ts';
import { UsageError } from '../exit.ts';
import { withShippedPaths } from '../shipped.ts';
import { print } from '../terminal.ts';

const RELEASE = BUILT_IN.release;
const BUILD = `echo 'obj-m := mymod.o' > Kbuild
  make -C /lib/modules/${RELEASE}/build M=$PWD modules`;

/** What the program's own help says of modules. */
export const MODULES_SHORTLY = `Modules are those of Debian 12's kernel ${RELEASE}. To build one of mymod.c, with the package
linux-headers-${RELEASE} and gcc ('klpemu help modules' tells how on other systems):
  ${BUILD}`;

const MODULES = `Modules that fit the machine

The machine is Debian 12's kernel ${RELEASE}: a module must have been built for it, or
loading it fails as it does there, and klpemu names the headers that it needs.

On Debian 12, with linux-headers-${RELEASE}, gcc and make, where mymod.c is:
  ${BUILD}

On other systems the same in a container of debian:12, or in a chroot, by root:
  mmdebstrap --include=linux-headers-${RELEASE},gcc,make bookworm /tmp/bookworm \\
    http://deb.debian.org/debian \\
    'deb http://security.debian.org/debian-security bookworm-security main'
  cp -r mymod /tmp/bookworm/root/
  chroot /tmp/bookworm make -C /lib/modules/${RELEASE}/build M=/root/mymod modules

A livepatch that uses symbols which are not exported: make with KBUILD_MODPOST_WARN=1, then
'klpemu klp-convert' (klpemu help klp-convert).

To load it; packed ones (.ko.xz, .ko.zst, .ko.gz) are taken as they are:
  klpemu shell --dir . -c 'modprobe mymod; dmesg | tail'

More, and what is refused: docs/modules.md
`;

const TOPICS: Readonly<Record<string, string>> = { modules: MODULES };

export function addHelp(root: Command): void {
  const topics = Object.keys(TOPICS).join(', ');
  root
    .helpCommand(false)
    .command('help')
    .description(`display help for a command, or on: ${topics}`)
    .argument('[command]', 'command or topic')
    .addHelpText('after', '\nExample:\n  klpemu help modules')
    .action((name: string | undefined) => {
      if (name === undefined) return root.help();
      const command = root.commands.find((each) => each.name() === name);
      if (command) return command.help();
      if (!Object.hasOwn(TOPICS, name))
        throw new UsageError(
          `help: '${name}' is no command, and help is there on: ${topics} (klpemu --help)`,
        );
      print(withShippedPaths(TOPICS[name]));
    });
}
