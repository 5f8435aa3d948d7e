# Sourced with MACHINE... -- SCRIPT... for arguments: starts the machine (klpemu shell --pipe), which reads from 9 and answers on
# 8, and leaves the scripts as arguments.

machine=()
while [[ $1 != -- ]]; do
	machine+=("$1")
	shift
done
shift
coproc GUEST { exec "${machine[@]}"; }
# A coprocess's own descriptors, and what is duplicated from them, are closed in programs; what is opened is not.
exec 8<"/proc/self/fd/${GUEST[0]}" 9>"/proc/self/fd/${GUEST[1]}" {GUEST[0]}<&- {GUEST[1]}>&-
