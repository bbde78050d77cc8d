#!/bin/sh
# Builds the guest's parsers natively, for 32 bits, with AddressSanitizer, UndefinedBehaviorSanitizer and libFuzzer:
#   fuzz/native/build.sh DIRECTORY [PARSER...]
# The parsers are http1, http2, lines and resp; hpack, which is the decoder of http2 alone beside nghttp2's, for 64 bits; and
# planted, which is http1 with faults (guest/http1/planted.h).
# Each program takes a directory of inputs to start from, or files to replay. PICOHTTPPARSER_DIR names the source of
# picohttpparser; otherwise cargo is asked for it. PICOTAP_CLANG names another clang.
set -eu

out=$1
shift
[ $# -gt 0 ] || set -- http1 http2 lines resp hpack
if [ "$(uname -m)" != x86_64 ]; then
    echo "build.sh: needs x86-64: the parsers are built for x86 with 32 bits, whose addresses are as wide as the sandbox's" >&2
    exit 1
fi
mkdir -p "$out"
out=$(CDPATH='' cd -- "$out" && pwd)
cd "$(dirname -- "$0")/../.."

if [ -z "${PICOHTTPPARSER_DIR:-}" ]; then
    manifest=$(cargo metadata --locked --format-version=1 | grep -o '"manifest_path":"[^"]*/picohttpparser-sys-[^"]*"' | head -n 1)
    manifest=${manifest#*:\"}
    PICOHTTPPARSER_DIR=${manifest%/*}/deps/picohttpparser
fi
if [ ! -f "$PICOHTTPPARSER_DIR/picohttpparser.c" ]; then
    echo "build.sh: $PICOHTTPPARSER_DIR contains no picohttpparser.c: set PICOHTTPPARSER_DIR to its source" >&2
    exit 1
fi

for clang in ${PICOTAP_CLANG:-clang-19 clang-20 clang-21 clang}; do
    if command -v "$clang" >/dev/null 2>&1; then break; fi
done

common="-std=c11 -O1 -g -fno-omit-frame-pointer -fwrapv -Wall -Wextra -Wconversion -Wshadow -Werror
    -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all"
# The warnings of build.rs. Of 64-bit numbers wasm32 has the alignment of -malign-double.
compile() {
    # shellcheck disable=SC2086
    "$clang" -m32 -malign-double -msse4.2 -D__SSE4_2__=1 $common -include fuzz/native/wasm.h -I fuzz/native -I guest -I guest/http1 -I guest/simd -isystem "$PICOHTTPPARSER_DIR" "$@"
}

for parser; do
    if [ "$parser" = hpack ]; then
        # shellcheck disable=SC2086
        "$clang" $common -I guest guest/http2/hpack.c guest/http2/tables.c fuzz/native/hpack.c -ldl -o "$out/$parser"
        continue
    fi
    directory=$parser flags=
    if [ "$parser" = planted ]; then directory=http1 flags=-DPICO_PLANTED; fi
    set -- guest/module.c
    for source in guest/"$directory"/*.c; do
        case $source in
            */upstream.c) ;;
            */planted.c) if [ "$parser" = planted ]; then set -- "$@" "$source"; fi ;;
            *) set -- "$@" "$source" ;;
        esac
    done
    # picohttpparser loads sixteen bytes of tables that are shorter (and takes as many of them as there are): there is no guard
    # around its tables.
    if [ "$directory" = http1 ]; then
        compile -mllvm -asan-globals=0 -c guest/http1/upstream.c -o "$out/$parser.o"
        set -- "$@" "$out/$parser.o"
    fi
    compile $flags "$@" fuzz/native/harness.c fuzz/native/host.c fuzz/native/check.c -o "$out/$parser"
done
