#!/usr/bin/env bash
# Checks the modules inside this one, each with its own dependencies, two at a time, since
# their tests wait more than they compute.
#
#   tools/nested.sh [flag of go test]...
set -euo pipefail
cd "$(dirname "$0")/.."
export GO=${GO:-go} GOWORK=off

# check DIRECTORY [flag of go test]...
check() {
	set -euo pipefail
	cd "$1"
	shift
	"$GO" mod tidy -diff
	"$GO" mod verify
	if [ -n "$("$GO" list ./... 2>/dev/null)" ]; then
		"$GO" vet ./...
		"$GO" test -vet=off -race "$@" ./...
	fi
}

# reported DIRECTORY [flag of go test]... prints in one piece what a module has to say.
reported() {
	local said failed=0
	said=$(check "$@" 2>&1) || failed=1
	printf '%s:\n%s\n' "$1" "$said"
	return $failed
}

export -f check reported
find . -mindepth 2 -name go.mod -not -path './.*/*' -printf '%h\n' | sort |
	xargs -P 2 -I MODULE bash -c 'reported "$@"' _ MODULE "$@"
