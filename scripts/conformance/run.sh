#!/bin/bash
# run.sh MACHINE... -- SCRIPT... - runs rewritten test scripts, one after the other, on a machine (klpemu shell --pipe). After
# each prints `EXIT script status`.
#
# Standard output and standard error of the scripts are theirs.

. "${0%/*}/machine.sh"

for script; do
	bash "$script" </dev/null
	# On a line of its own: a test that dies leaves its line open.
	printf '\nEXIT %s %s\n' "${script##*/}" $?
done

# The machine ends with what it reads.
exec 9>&-
wait
