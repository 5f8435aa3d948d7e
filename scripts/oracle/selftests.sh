#!/bin/bash
# selftests.sh RESULTS MACHINE... -- SCRIPT... - runs rewritten selftests (scripts/conformance/rewrite.ts), one after the other, on
# a machine (klpemu shell --pipe). Of the script number N, RESULTS gets N.stdout, N.stderr, N.status, and N.log: what the
# kernel said in its time, with levels.

results=$1
shift
. "${0%/*}/../conformance/machine.sh"

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
