#!/usr/bin/env bash
# Fails if the generated code of internal/pb, internal/remote/adminpb and the examples is not what
# the .proto files give. It generates into a copy, so that nothing changes under somebody who is
# compiling.
set -euo pipefail
cd "$(dirname "$0")/.."

# The copy stays, for the plugins that are built in it.
copy=.build/fresh
mkdir -p "$copy"
rm -rf "$copy/proto" "$copy/tools" "$copy/internal" "$copy/examples"
mkdir -p "$copy/internal/pb" "$copy/internal/remote/adminpb" "$copy/tools"
cp -R proto "$copy/"
cp tools/go.mod tools/go.sum "$copy/tools/"
cp internal/pb/generate.sh "$copy/internal/pb/"
for file in examples/generate.sh examples/*/*pb/*.proto; do
	mkdir -p "$copy/$(dirname "$file")"
	cp "$file" "$copy/$file"
done
sh "$copy/internal/pb/generate.sh"
sh "$copy/examples/generate.sh"

generated='internal/pb/*.pb.go internal/remote/adminpb/*.pb.go examples/*/*pb/*.pb.go'
for file in $generated; do
	# One that is no longer generated shows as missing.
	diff -u "$file" "$copy/$file" || stale=1
done
for file in $(cd "$copy" && echo $generated); do
	[ -e "$file" ] || { echo "$file is missing"; stale=1; }
done
if [ -n "${stale:-}" ]; then
	echo "generated code is not what the .proto files give: run \"make generate\"" >&2
	exit 1
fi
echo "generated code is what the .proto files give"
