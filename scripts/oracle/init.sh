#!/bin/bash
# The first program of the real machine: carries out the operations of /oracle/script, one a line, and writes to the second
# serial line what each did, as
#
#	@ INDEX STATUS STDOUT-BYTES STDERR-BYTES LOG-BYTES
#
# and those bytes; at last `@ end`. The log is what the kernel said in the time of the operation, with levels and times.

export LC_ALL=C HOME=/ PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t debugfs debugfs /sys/kernel/debug
mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null
mount -t tmpfs tmpfs /tmp
. /oracle/options
depmod 2>/dev/null
stty -F /dev/ttyS1 raw -echo
exec 7>/dev/ttyS1
# What nobody writes to: a read of it with a timeout is a sleep that starts no program.
mkfifo /tmp/never
exec 9<>/tmp/never
cd /

pause() {
	read -r -t 0.1 -u 9
}

# Until no patch changes its state, or for as long as one may stall: then the fake signal has been sent, too.
settle() {
	local tries dir enabled transition busy
	for ((tries = 0; tries < settle_tries; tries++)); do
		busy=
		for dir in /sys/kernel/livepatch/*/; do
			{ read -r enabled <"$dir/enabled" && read -r transition <"$dir/transition"; } 2>/dev/null || continue
			[[ $enabled = 1 && $transition = 0 ]] || busy=1
		done
		[[ $busy ]] || break
		pause
	done
	pause
}

# Everything below is the shell's own: a program that is started costs more than what most operations do.
settle
dmesg -C
seen=0
index=0
while IFS= read -r line <&6; do
	(eval "$line") >/tmp/out 2>/tmp/err </dev/null
	status=$?
	settle
	dmesg -r >/tmp/log
	IFS= read -r -d '' out </tmp/out
	IFS= read -r -d '' err </tmp/err
	IFS= read -r -d '' log </tmp/log
	new=${log:seen}
	seen=${#log}
	printf '@ %s %s %s %s %s\n%s' $index $status ${#out} ${#err} ${#new} "$out$err$new" >&7
	((index++))
done 6</oracle/script
echo '@ end' >&7
echo o >/proc/sysrq-trigger
pause
sleep 100
