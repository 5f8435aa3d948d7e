#!/bin/bash
# run.sh MACHINE... -- SCRIPT... - runs rewritten test scripts, one after the other, on a machine (klpemu shell --pipe). After
# each prints `EXIT script status`.
#
# Standard output and standard error of the scripts are theirs.

machine=()
while [[ $1 != -- ]]; do
	machine+=("$1")
	shift
done
shift
coproc GUEST { exec "${machine[@]}"; }
# A coprocess's own descriptors, and what is duplicated from them, are closed in programs; what is opened is not.
exec 8<"/proc/self/fd/${GUEST[0]}" 9>"/proc/self/fd/${GUEST[1]}" {GUEST[0]}<&- {GUEST[1]}>&-

for script; do
	bash "$script" </dev/null
	# On a line of its own: a test that dies leaves its line open.
	printf '\nEXIT %s %s\n' "${script##*/}" $?
done

# The machine ends with what it reads.
exec 9>&-
wait
