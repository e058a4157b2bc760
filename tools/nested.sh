#!/usr/bin/env bash
# Checks the modules inside this one, each with its own dependencies.
#
#   tools/nested.sh [flag of go test]...
set -euo pipefail
cd "$(dirname "$0")/.."

go=${GO:-go}
find . -mindepth 2 -name go.mod -not -path './.*/*' | sort | while read -r mod; do
	(
		cd "$(dirname "$mod")"
		echo "$(dirname "$mod"):"
		export GOWORK=off
		"$go" mod tidy -diff
		"$go" mod verify
		if [ -n "$("$go" list ./... 2>/dev/null)" ]; then
			"$go" vet ./...
			"$go" test -race "$@" ./...
		fi
	)
done
