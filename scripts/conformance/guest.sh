# Sourced by the rewritten selftests: the commands that they use on their machine are carried out on the emulated one.
#
# Descriptor 9 takes command lines, 8 gives `STATUS STDOUT-BYTES STDERR-BYTES` and those bytes for each: the two ends of a machine of
# `klpemu shell --pipe`. Nothing is started for a command, so that one costs well under a
# millisecond.

export LC_ALL=C
# The end of a pipe is this shell: one process less for each `| guest_write`.
shopt -s lastpipe

# The machine is gone: the whole script ends, whichever subshell has noticed.
guest_lost() {
	echo "the machine does not answer" >&2
	builtin kill -KILL $$
	exit 70
}

# guest_ask WORD... - run a command in the guest: its output is in GUEST_OUT, its errors in GUEST_ERR, its exit status the function's
guest_ask() {
	local status out err
	GUEST_OUT='' GUEST_ERR=''
	printf '%s\n' "${*@Q}" >&9
	read -r status out err <&8 || guest_lost
	if [[ $out -gt 0 ]]; then IFS= read -r -N "$out" GUEST_OUT <&8; fi
	if [[ $err -gt 0 ]]; then IFS= read -r -N "$err" GUEST_ERR <&8; fi
	return "$status"
}

# guest WORD... - run a command in the guest: its output, its errors, its exit status
guest() {
	local status
	guest_ask "$@"
	status=$?
	[[ -z $GUEST_OUT ]] || printf '%s' "$GUEST_OUT"
	[[ -z $GUEST_ERR ]] || printf '%s' "$GUEST_ERR" >&2
	return "$status"
}

# guest_write PATH - standard input into a file of the guest, as `> PATH` would
guest_write() {
	local text
	IFS= read -r -d '' text
	guest_put "$1" "$text"
}

# guest_echo PATH [-n] TEXT - what `echo [-n] TEXT > PATH` writes, without a process
guest_echo() {
	case $2 in
	-n) guest_put "$1" "$3" ;;
	*) guest_put "$1" "$2"$'\n' ;;
	esac
}

# guest_put PATH TEXT
guest_put() {
	local text status out err
	printf 'echo -n %s > %s\n' "${2@Q}" "${1@Q}" >&9
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

# guest_names DIRECTORY - what `DIRECTORY/*` stands for
guest_names() {
	local name names
	names=$(guest ls "$1")
	[[ -n $names ]] || { echo "$1/*"; return; }
	for name in $names; do echo "$1/$name"; done
}

# guest_start PROGRAM - one of the guest's in the background; its pid is in GUEST_PID
guest_start() {
	GUEST_PID=$(guest start "$@")
}

# Modules of the tests lie where the machine has those that it was given. They are built, and built of themselves by nobody.
export KDIR=.
guest_ask uname -r
GUEST_MODULES=/lib/modules/${GUEST_OUT%$'\n'}/extra

# guest_module COMMAND WORD... - with the places of modules, and told by the names that the test has for them
guest_module() {
	local status text
	guest_ask "${@/#test_modules\//$GUEST_MODULES/}"
	status=$?
	text=$GUEST_OUT$GUEST_ERR
	text=${text%$'\n'}
	[[ -z $text ]] || printf '%s\n' "${text//$GUEST_MODULES\//test_modules/}"
	return "$status"
}

insmod() { guest_module insmod "$@" >&2; }
modinfo() { guest_module modinfo "$@"; }
modprobe() { guest modprobe "$@"; }
rmmod() { guest rmmod "$@"; }
dmesg() { guest dmesg "$@"; }
sysctl() { guest sysctl "$@"; }
sleep() { guest sleep "$@"; }
stat() { guest stat "$@"; }
kill() { guest kill "$@"; }
getconf() { guest nproc; }
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
