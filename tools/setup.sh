#!/usr/bin/env bash
# Installs what the tests need besides Go: protoc with the files it includes, a C
# compiler for the race detector, a browser for the page, and on Linux ip and nft
# for the networks of test/chaos. Does nothing if they are there.
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()
has_protoc() { protoc --proto_path=proto --descriptor_set_out=/dev/null concord.proto 2>/dev/null; }
has_cc() { command -v "${CC:-gcc}" >/dev/null 2>&1 || command -v clang >/dev/null 2>&1; }

# Administrators' programs may be where only they look.
has_tool() { PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null 2>&1 || [ "$(uname)" != Linux ]; }

has_browser() {
	local name
	for name in chromium chromium-browser google-chrome google-chrome-stable chrome; do
		! command -v "$name" >/dev/null 2>&1 || return 0
	done
	return 1
}

has_protoc || missing+=(protobuf-compiler libprotobuf-dev)
has_cc || missing+=(gcc libc6-dev)
needed=${#missing[@]}
has_tool ip || missing+=(iproute2)
has_tool nft || missing+=(nftables)
has_browser || missing+=(chromium fonts-dejavu-core)
if [ ${#missing[@]} = 0 ]; then
	echo "protoc, a C compiler, a browser, ip and nft are there"
	exit 0
fi

root=()
if [ "$(id -u)" != 0 ]; then root=(sudo -n); fi
if ! command -v apt-get >/dev/null 2>&1 || ! "${root[@]}" true 2>/dev/null; then
	echo "setup.sh: please install what Debian calls ${missing[*]}" >&2
	if [ "$needed" = 0 ]; then exit 0; fi # without them, tests are skipped, and say so
	exit 1
fi
install() {
	"${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}" </dev/null
}
echo "installing ${missing[*]}"
install || { "${root[@]}" apt-get update -q </dev/null && install; }
if ! has_protoc; then
	echo "setup.sh: protoc is installed, and cannot compile proto/concord.proto:" >&2
	protoc --proto_path=proto --descriptor_set_out=/dev/null concord.proto
	exit 1
fi
