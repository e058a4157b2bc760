#!/usr/bin/env bash
# Fails if internal/pb and internal/remote/adminpb are not what proto/ gives. It generates into a copy, so
# that nothing changes under somebody who is compiling.
set -euo pipefail
cd "$(dirname "$0")/.."

# The copy stays, for the plugins that generate.sh builds in it.
copy=.build/fresh
mkdir -p "$copy"
rm -rf "$copy/proto" "$copy/tools" "$copy/internal"
mkdir -p "$copy/internal/pb" "$copy/internal/remote/adminpb" "$copy/tools"
cp -R proto "$copy/"
cp tools/go.mod tools/go.sum "$copy/tools/"
cp internal/pb/generate.sh "$copy/internal/pb/"
sh "$copy/internal/pb/generate.sh"

for file in internal/pb/*.pb.go internal/remote/adminpb/*.pb.go; do
	# One that is no longer generated shows as missing.
	diff -u "$file" "$copy/$file" || stale=1
done
for file in "$copy"/internal/pb/*.pb.go "$copy"/internal/remote/adminpb/*.pb.go; do
	[ -e "${file#"$copy"/}" ] || { echo "${file#"$copy"/} is missing"; stale=1; }
done
if [ -n "${stale:-}" ]; then
	echo "generated code is not what proto/ gives: run \"make generate\"" >&2
	exit 1
fi
echo "generated code is what proto/ gives"
