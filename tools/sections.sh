#!/usr/bin/env bash
# Runs the given targets of the Makefile one after another, all of them even if
# one fails, and says what each took. What a target writes to $SECTION_NOTES,
# say that it has skipped something, is repeated in the end.
#
#   tools/sections.sh make TARGET...
set -euo pipefail

make=$1
shift
SECTION_NOTES=$(mktemp)
export SECTION_NOTES
trap 'rm -f "$SECTION_NOTES"' EXIT
passed=0 failed=0 summary='' start=$SECONDS
for target in "$@"; do
	printf '\n==> %s\n' "$target"
	began=$SECONDS verdict=ok
	"$make" --no-print-directory "$target" </dev/null || verdict=FAILED
	if [ "$verdict" = ok ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
	summary+=$(printf '%-16s %-6s %4d s' "$target" "$verdict" $((SECONDS - began)))$'\n'
done
printf '\n==> in all %d s\n%s' $((SECONDS - start)) "$summary"
cat "$SECTION_NOTES"
printf 'sections: %d passed, %d failed\n' "$passed" "$failed"
[ "$failed" = 0 ]
