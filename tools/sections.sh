#!/usr/bin/env bash
# Runs the given targets of the Makefile one after another, all of them even if
# one fails, and says what each took. What a target writes to $SECTION_NOTES,
# say that it has skipped something, is repeated in the end. The target $BESIDE, which
# waits more than it computes, runs beside those after it; the target $UNTIL waits for its end.
#
#   tools/sections.sh make TARGET...
set -euo pipefail

make=$1
shift
SECTION_NOTES=$(mktemp)
export SECTION_NOTES
beside=$(mktemp)
trap 'rm -f "$SECTION_NOTES" "$beside"' EXIT
passed=0 failed=0 summary='' start=$SECONDS

# ended TARGET VERDICT SECONDS
ended() {
	if [ "$2" = ok ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
	summary+=$(printf '%-16s %-6s %4d s' "$1" "$2" "$3")$'\n'
}

# await waits for the end of the target that runs beside others.
other=''
await() {
	[ -n "$other" ] || return 0
	local verdict=ok
	wait "$other" || verdict=FAILED
	printf '\n==> %s, beside those above\n' "$BESIDE"
	cat "$beside"
	ended "$BESIDE" "$verdict" $((SECONDS - since))
	other=''
}

for target in "$@"; do
	if [ "$target" = "${UNTIL:-}" ]; then await; fi
	began=$SECONDS verdict=ok
	if [ "$target" = "${BESIDE:-}" ]; then
		"$make" --no-print-directory "$target" </dev/null >"$beside" 2>&1 &
		other=$! since=$began
		continue
	fi
	printf '\n==> %s\n' "$target"
	"$make" --no-print-directory "$target" </dev/null || verdict=FAILED
	ended "$target" "$verdict" $((SECONDS - began))
done
await
printf '\n==> in all %d s\n%s' $((SECONDS - start)) "$summary"
cat "$SECTION_NOTES"
printf 'sections: %d passed, %d failed\n' "$passed" "$failed"
[ "$failed" = 0 ]
