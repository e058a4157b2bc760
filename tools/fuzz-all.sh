#!/bin/sh
# Runs every fuzz test of the module for the time given (default 10m), one after the other,
# and prints a row of docs/VERIFICATION.md for each. A failure ends the run; go test keeps
# the input that has failed.
set -eu
time=${1:-10m}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
echo "| fuzz test | time | executions | inputs of new coverage |"
echo "|---|---|---|---|"
grep -rl --include='*_test.go' '^func Fuzz' . | sort | while read -r file; do
	package=$(dirname "$file")
	for name in $(sed -n 's/^func \(Fuzz[A-Za-z0-9]*\)(.*/\1/p' "$file"); do
		if ! ${GO:-go} test -run='^$' -fuzz="^$name\$" -fuzztime="$time" "$package" >"$log" 2>&1; then
			cat "$log"
			exit 1
		fi
		last=$(grep 'execs:' "$log" | tail -n 1)
		executions=$(echo "$last" | sed -n 's/.*execs: \([0-9]*\).*/\1/p')
		inputs=$(echo "$last" | sed -n 's/.*new interesting: \([0-9]*\).*/\1/p')
		echo "| \`$package\` $name | $time | ${executions:-0} | ${inputs:-0} |"
	done
done
