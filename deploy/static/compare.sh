#!/bin/sh
# Builds the static binary of the commit that is checked out twice, in two directories and with two homes of cargo, and compares what
# comes out, bit by bit. Takes as long as two release builds from nothing, and some 5 GB below the temporary directory.
#   deploy/static/compare.sh [FIRST]      FIRST: the result of an earlier build of the same commit (target/static), to build once only
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
first=${1:-}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' INT TERM HUP

# build NAME: in a directory whose name has another length than that of any other.
build() {
    git clone -q "$root" "$scratch/$1"
    git -C "$scratch/$1" checkout -q --detach "$(git -C "$root" rev-parse HEAD)"
    mkdir "$scratch/$1-cargo"
    # Where crates come from is the machine's affair.
    for file in config.toml config; do
        if [ -f "${CARGO_HOME:-$HOME/.cargo}/$file" ]; then cp "${CARGO_HOME:-$HOME/.cargo}/$file" "$scratch/$1-cargo/"; fi
    done
    CARGO_HOME=$scratch/$1-cargo "$scratch/$1/deploy/static/build.sh"
}

if [ -z "$first" ]; then
    build a
    first=$scratch/a/target/static
fi
build another
for name in picotap picotap.cdx.json; do
    cmp "$first/$name" "$scratch/another/target/static/$name"
done
echo "compare: both builds gave the same bits"
