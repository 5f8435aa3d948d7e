#!/bin/bash
# selftests.sh RESULTS MACHINE... -- SCRIPT... - runs rewritten selftests (scripts/conformance/rewrite.ts), one after the other, on
# a machine (klpemu shell --pipe). Of the script number N, RESULTS gets N.stdout, N.stderr, N.status, and N.log: what the
# kernel said in its time, with levels.

results=$1
shift
machine=()
while [[ $1 != -- ]]; do
	machine+=("$1")
	shift
done
shift
coproc GUEST { exec "${machine[@]}"; }
# A coprocess's own descriptors, and what is duplicated from them, are closed in programs; what is opened is not.
exec 8<"/proc/self/fd/${GUEST[0]}" 9>"/proc/self/fd/${GUEST[1]}" {GUEST[0]}<&- {GUEST[1]}>&-

n=0
for script; do
	. "${script%/*}/guest.sh"
	guest dmesg -C
	bash "$script" </dev/null >"$results/$n.stdout" 2>"$results/$n.stderr"
	echo $? >"$results/$n.status"
	guest dmesg -r >"$results/$n.log"
	((n++))
done

# The machine ends with what it reads.
exec 9>&-
wait
