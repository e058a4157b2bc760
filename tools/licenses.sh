#!/usr/bin/env bash
# Writes docs/LICENSES.md: every module whose code this module links or tests with, and its
# licence. It needs no network, but the module cache.
#
#   tools/licenses.sh           writes the page
#   tools/licenses.sh --check   fails if the page is not current
set -euo pipefail
cd "$(dirname "$0")/.."

go=${GO:-go}
page=docs/LICENSES.md
root=$("$go" list -m)

# modules lists the modules that packages depend on, on every system that is built for.
modules() {
	local os
	for os in linux darwin windows; do
		GOOS=$os "$go" list -deps -f '{{with .Module}}{{if not .Main}}{{.Path}}{{end}}{{end}}' "$@"
	done | sort -u
}

# licence names the licence in the directory of a module.
licence() {
	local file
	for file in LICENSE LICENSE.md LICENSE.txt LICENCE COPYING; do
		[ -f "$1/$file" ] || continue
		if grep -q 'Apache License' "$1/$file"; then
			echo 'Apache-2.0'
		elif grep -q 'Permission is hereby granted, free of charge' "$1/$file"; then
			echo 'MIT'
		elif grep -q 'Redistribution and use in source and binary forms' "$1/$file"; then
			if grep -qi 'neither the name' "$1/$file"; then echo 'BSD-3-Clause'; else echo 'BSD-2-Clause'; fi
		else
			continue
		fi
		return
	done
	echo "licenses.sh: no licence is known in $1" >&2
	return 1
}

library=$(modules .)
adapters=$(modules ./concordprom ./concordotel)
command=$(modules ./cmd/concord)
all=$(modules -test ./...)

contains() { grep -qxF -- "$2" <<<"$1"; }

write() {
	cat <<-TEXT
		# Licences of dependencies

		\`make licenses\` makes this page from the module cache, and \`make test\` checks that it is
		current. It lists every module that is linked on Linux, macOS or Windows, or tested with, from
		\`$root\`. Modules inside that one have their own. Concord
		itself has the [MIT licence](../LICENSE).

		| module | version | licence | linked by |
		|---|---|---|---|
	TEXT
	local path version dir by kind
	while read -r path; do
		read -r version dir < <("$go" list -m -f '{{.Version}} {{.Dir}}' "$path")
		if contains "$library" "$path"; then
			by='the library'
		elif contains "$command" "$path"; then
			by='the command'
			if contains "$adapters" "$path"; then by='the command, adapters'; fi
		elif contains "$adapters" "$path"; then
			by='adapters'
		else
			by='tests only'
		fi
		kind=$(licence "$dir")
		echo "| \`$path\` | $version | $kind | $by |"
	done <<<"$all"
}

text=$(write)
if [ "${1:-}" = --check ]; then
	diff -u "$page" - <<<"$text" || { echo "$page is not current: run \"make licenses\"" >&2; exit 1; }
	echo "$page is current"
else
	printf '%s\n' "$text" >"$page"
fi
