# Sourced by the rewritten selftests: the commands that they use on their machine are carried out on the emulated one.
#
# Descriptor 9 takes command lines, 8 gives `STATUS STDOUT-BYTES STDERR-BYTES` and those bytes for each: the two ends of `klpemu shell --pipe`. Nothing is started for a command, so that one costs well under a millisecond.

export LC_ALL=C

# The machine is gone: the whole script ends, whichever subshell has noticed.
guest_lost() {
	echo "the machine does not answer" >&2
	kill -KILL $$
	exit 70
}

# guest WORD... - run a command in the guest: its output, its errors, its exit status
guest() {
	local status out err text
	printf '%s\n' "${*@Q}" >&9
	read -r status out err <&8 || guest_lost
	if [[ $out -gt 0 ]]; then
		IFS= read -r -N "$out" text <&8
		printf '%s' "$text"
	fi
	if [[ $err -gt 0 ]]; then
		IFS= read -r -N "$err" text <&8
		printf '%s' "$text" >&2
	fi
	return "$status"
}

# guest_write PATH - standard input into a file of the guest, as `> PATH` would
guest_write() {
	local text status out err
	IFS= read -r -d '' text
	printf 'echo -n %s > %s\n' "${text@Q}" "${1@Q}" >&9
	read -r status out err <&8 || guest_lost
	if [[ $err -gt 0 ]]; then
		IFS= read -r -N "$err" text <&8
		printf '%s' "$text" >&2
	fi
	return "$status"
}

# guest_exists PATH - what `[[ -e PATH ]]` asks
guest_exists() {
	guest test -e "$1"
}

modprobe() { guest modprobe "$@"; }
rmmod() { guest rmmod "$@"; }
modinfo() { guest modinfo "$@"; }
dmesg() { guest dmesg "$@"; }
sysctl() { guest sysctl "$@"; }
sleep() { guest sleep "$@"; }
stat() { guest stat "$@"; }
# Whoever runs this is root in the guest.
id() { echo 0; }

# Those that are also used on files and pipes of the host: the guest's are known by their paths.
cat() {
	case "${1-}" in
	/sys/* | /proc/*) guest cat "$@" ;;
	*) command cat "$@" ;;
	esac
}
grep() {
	case "${*: -1}" in
	/sys/* | /proc/*) guest grep "$@" ;;
	*) command grep "$@" ;;
	esac
}
