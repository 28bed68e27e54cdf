#!/bin/sh
# Runs a command during which Debian's maintainer scripts start no service:
#
#	without-services.sh POLICY [COMMAND [ARGUMENT]...]
#
# POLICY is the file that they ask, /usr/sbin/policy-rc.d; its status 101 forbids. One that somebody else put
# there is left as it is. Ours goes when the command has ended, whatever becomes of who started us. One that was
# left behind, because we were killed, goes first; without a command that is all.
#
# A signal to the process group reaches the command, too, and is obeyed when that has ended: apt-get takes a SIGINT
# at once while it downloads, and when dpkg has finished while it installs.
set -eu
policy=$1
shift
mark="Written by Warmboot's set-up and removed by it."

remove() {
	if grep -qs "$mark" "$policy"; then rm -f "$policy"; fi
}

# Of two at a time each would take the other's policy for one that was left behind.
exec 9<"$(dirname "$policy")"
flock 9
trap remove EXIT
trap 'exit 1' HUP INT PIPE TERM
remove
if [ $# -eq 0 ]; then exit; fi
if [ ! -e "$policy" ]; then
	printf '#!/bin/sh\n# %s\nexit 101\n' "$mark" >"$policy"
	chmod 755 "$policy"
fi
# Kept here until the end: a pipe that nobody reads any more would end apt-get in the middle.
output=$("$@" 2>&1) || {
	status=$?
	printf '%s\n' "$output" >&2
	exit "$status"
}
