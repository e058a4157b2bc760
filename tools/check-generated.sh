#!/usr/bin/env bash
# Fails if internal/pb is not what proto/ gives. It generates into a copy, so
# that nothing changes under somebody who is compiling.
set -euo pipefail
cd "$(dirname "$0")/.."

# The copy stays, for the plugins that generate.sh builds in it.
copy=.build/fresh
mkdir -p "$copy"
rm -rf "$copy/proto" "$copy/tools" "$copy/internal"
mkdir -p "$copy/internal/pb" "$copy/tools"
cp -R proto "$copy/"
cp tools/go.mod tools/go.sum "$copy/tools/"
cp internal/pb/generate.sh "$copy/internal/pb/"
sh "$copy/internal/pb/generate.sh"

for file in internal/pb/*.pb.go; do
	# One that is no longer generated shows as missing.
	diff -u "$file" "$copy/$file" || stale=1
done
for file in "$copy"/internal/pb/*.pb.go; do
	[ -e "${file#"$copy"/}" ] || { echo "${file#"$copy"/} is missing"; stale=1; }
done
if [ -n "${stale:-}" ]; then
	echo "internal/pb is not what proto/ gives: run \"make generate\"" >&2
	exit 1
fi
echo "internal/pb is what proto/ gives"
