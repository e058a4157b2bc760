#!/bin/sh
# Generates the code of the services of the examples from their .proto files, with the plugins that
# tools/go.mod pins.
set -eu

cd "$(dirname "$0")/.."

bin="$PWD/.build/protoc-plugins"
mkdir -p "$bin"
for plugin in google.golang.org/protobuf/cmd/protoc-gen-go google.golang.org/grpc/cmd/protoc-gen-go-grpc; do
	(cd tools && GOWORK=off go build -o "$bin/" "$plugin")
done

for file in examples/*/*pb/*.proto; do
	protoc \
		--proto_path=. \
		--plugin="$bin/protoc-gen-go" \
		--plugin="$bin/protoc-gen-go-grpc" \
		--go_out=. --go_opt=paths=source_relative \
		--go-grpc_out=. --go-grpc_opt=paths=source_relative \
		"$file"
done

# The version of protoc says nothing about the code.
for file in examples/*/*pb/*.pb.go; do
	grep -v '^//.*[[:space:]]protoc[[:space:]][[:space:]]*(*v*[0-9(]' "$file" >"$file.tmp"
	mv "$file.tmp" "$file"
done
