#!/bin/bash
# run.sh CLIENT... -- SCRIPT... - runs rewritten test scripts on the machine that the client (klpemu exec --pipe) talks to,
# one connection for all. After each prints `EXIT script status`.
#
# Standard output and standard error of the scripts are theirs.

client=()
while [[ $1 != -- ]]; do
	client+=("$1")
	shift
done
shift
coproc KLPEMU { exec "${client[@]}"; }
# A coprocess's own descriptors, and what is duplicated from them, are closed in programs; what is opened is not.
exec 8<"/proc/self/fd/${KLPEMU[0]}" 9>"/proc/self/fd/${KLPEMU[1]}"

for script; do
	bash "$script" </dev/null
	# On a line of its own: a test that dies leaves its line open.
	printf '\nEXIT %s %s\n' "${script##*/}" $?
done
