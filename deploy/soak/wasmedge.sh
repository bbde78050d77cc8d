#!/bin/sh
# Runs the argv way under WasmEdge in a Debian 13 (trixie) root, which the first run makes with debootstrap and keeps. Needs
# root, and a Debian mirror on the first run.
#
#   deploy/soak/wasmedge.sh PICOTAP TEST
#
# PICOTAP is the built program, TEST the built tests/parse/wasmedge.rs (cargo test prints its path). Exit code: 0 if all is the same.
set -eu

if [ $# -ne 2 ]; then
    echo "usage: deploy/soak/wasmedge.sh PICOTAP TEST" >&2
    exit 2
fi
picotap=$1 test=$2
here=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
root=${PICOTAP_TRIXIE:-$here/target/soak/trixie}

if [ "$(id -u)" -ne 0 ]; then
    echo "wasmedge: needs root, for debootstrap and chroot" >&2
    exit 1
fi
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
if ! [ -e "$root/ready" ]; then
    if ! command -v debootstrap >/dev/null; then
        echo "wasmedge: debootstrap is not installed: apt-get install debootstrap" >&2
        exit 1
    fi
    rm -rf "$root"
    mkdir -p "$root"
    mirror=$("$here/deploy/soak/mirror.sh")
    debootstrap --variant=minbase trixie "$root" "$mirror"
    chroot "$root" sh -c 'apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        libpcap0.8t64 libwasmedge0 wasmedge'
    touch "$root/ready"
fi

cp "$picotap" "$root/tmp/picotap"
cp "$test" "$root/tmp/parse_wasmedge"
cat > "$root/tmp/run" <<'END'
set -eu
cd /tmp

# Through the embedding API, on every vector: the same replies and lines as under wasmtime.
PICOTAP_NEEDS_WASMEDGE=1 ./parse_wasmedge

# From the command line of each, on the built-in requests and others: the same lines and exit code.
wasmedge --version
./picotap parse --save-program pico.wasm
same() {
    what=$1
    shift
    code=0
    ./picotap parse --via argv "$@" > wasmtime.txt || code=$?
    embedded=0
    ./picotap parse --runtime wasmedge "$@" > embedded.txt || embedded=$?
    command=0
    wasmedge pico.wasm "$@" > command.txt || command=$?
    cmp wasmtime.txt embedded.txt
    cmp wasmtime.txt command.txt
    if [ "$code $embedded $command" != "$code $code $code" ] || ! [ -s wasmtime.txt ]; then
        echo "wasmedge: $what: exit codes $code, $embedded, $command" >&2
        exit 1
    fi
    echo "$what: the same $(wc -l < wasmtime.txt) lines, exit code $code"
}
crlf=$(printf '\r\n.')
crlf=${crlf%.}
same "built-in requests"
same "the example" "GET /abcd HTTP/1.1${crlf}Host: tricorder.dev${crlf}Cookie: cookie${crlf}${crlf}"
same "bytes that are not printable" "GET /$(printf '\377')\\ HTTP/1.1${crlf}${crlf}"
same "a partial and a malformed one" "GET / HT" "GET / HTTP/1.1${crlf}A B${crlf}${crlf}"
END
chroot "$root" sh /tmp/run
