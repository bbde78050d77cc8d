#!/bin/sh
# Runs the tests, and then lists those that skipped because this machine lacks a tool or a privilege. (Rust's test harness
# knows only passed and failed.) Under .ci/run such a test fails instead.
set -eu
cd "$(dirname "$0")/../.."
PICOTAP_SKIPPED=$PWD/target/skipped.txt
export PICOTAP_SKIPPED
mkdir -p target
: > "$PICOTAP_SKIPPED"
status=0
"$@" || status=$?
if [ -s "$PICOTAP_SKIPPED" ]; then
    echo "skipped for lack of a tool or a privilege: $(wc -l < "$PICOTAP_SKIPPED") tests"
    sort "$PICOTAP_SKIPPED" | sed 's/^/    /'
fi
exit $status
