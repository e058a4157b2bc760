#!/bin/sh
# Generates internal/pb from proto/concord.proto, and internal/remote/adminpb from
# proto/admin.proto. The plugins are those that
# tools/go.mod pins, built here and not taken from PATH, so that everyone's
# output is the same.
set -eu

cd "$(dirname "$0")/../.."

if ! command -v protoc >/dev/null 2>&1; then
	echo "generate.sh: protoc is not installed; install it with 'apt-get install protobuf-compiler' (Debian, Ubuntu) or 'brew install protobuf' (macOS)" >&2
	exit 1
fi

bin="$PWD/.build/protoc-plugins"
mkdir -p "$bin"
for plugin in google.golang.org/protobuf/cmd/protoc-gen-go google.golang.org/grpc/cmd/protoc-gen-go-grpc; do
	(cd tools && GOWORK=off go build -o "$bin/" "$plugin")
done

protoc \
	--proto_path=proto \
	--plugin="$bin/protoc-gen-go" \
	--plugin="$bin/protoc-gen-go-grpc" \
	--go_out=. --go_opt=module=github.com/ollelogdahl/concord \
	--go-grpc_out=. --go-grpc_opt=module=github.com/ollelogdahl/concord \
	concord.proto admin.proto

# The version of protoc is written into the files and says nothing about
# them: without it, two releases of protoc give the same bytes.
for file in internal/pb/*.pb.go internal/remote/adminpb/*.pb.go; do
	grep -v '^//.*[[:space:]]protoc[[:space:]][[:space:]]*(*v*[0-9(]' "$file" >"$file.tmp"
	mv "$file.tmp" "$file"
done
