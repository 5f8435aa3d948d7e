#!/bin/bash
# run.sh DIRECTORY EXEC... - runs the rewritten test scripts of a directory on the machine that `EXEC...` (klpemu exec
# --pipe) talks to, one connection for all. After each prints `EXIT script status`.
#
# Standard output and standard error of the scripts are theirs.

dir=$1
shift
coproc KLPEMU { exec "$@"; }
# A coprocess's own descriptors, and what is duplicated from them, are closed in programs; what is opened is not.
exec 8<"/proc/self/fd/${KLPEMU[0]}" 9>"/proc/self/fd/${KLPEMU[1]}"

for script in "$dir"/test-*.sh; do
	bash "$script" </dev/null
	echo "EXIT ${script##*/} $?"
done
