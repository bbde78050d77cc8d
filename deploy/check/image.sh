#!/bin/sh
# Executes the Dockerfile without a container engine, as root, in directories made by debootstrap:
#   deploy/check/image.sh BINARY
# The setup of the first stage runs in a fresh Debian with this machine's Rust; the RUN line of the last stage runs in another,
# with BINARY as the product of the first. Then the image's user starts the program there.
set -eu

[ $# = 1 ] || { echo "usage: deploy/check/image.sh BINARY" >&2; exit 2; }
binary=$(realpath "$1")
root=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
description=$root/deploy/docker/Dockerfile
work=$(mktemp -d)

tidy() {
    for place in build final; do
        for inner in out proc rust; do
            if mountpoint -q "$work/$place/$inner" 2>/dev/null; then umount "$work/$place/$inner"; fi
        done
    done
    rm -rf --one-file-system "$work"
}
trap tidy EXIT
trap 'exit 1' INT TERM HUP

# The suite named by the image's tag, from this machine's own package source.
suite=$(sed -n 's/^FROM debian:\([a-z]*\)-slim$/\1/p' "$description")
[ -n "$suite" ] || { echo "image: the last stage is not a slim Debian" >&2; exit 1; }
echo "image: a fresh $suite"
debootstrap --variant=minbase "$suite" "$work/final" > "$work/debootstrap.log" 2>&1 || { tail "$work/debootstrap.log" >&2; exit 1; }
cp /etc/resolv.conf "$work/final/etc/" 2>/dev/null || :
if [ -d /etc/apt/apt.conf.d ]; then cp /etc/apt/apt.conf.d/* "$work/final/etc/apt/apt.conf.d/" 2>/dev/null || :; fi
cp -a "$work/final" "$work/build"

echo "image: setup of the build stage"
mkdir -p "$work/build/src/deploy" "$work/build/rust" "$work/build/proc"
cp "$root/deploy/setup.sh" "$work/build/src/deploy/"
mount --bind "$(rustc --print sysroot)" "$work/build/rust"
mount -t proc proc "$work/build/proc"
in_build() { chroot "$work/build" env -i PATH=/rust/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root sh -euc "cd /src && $1"; }
in_build deploy/setup.sh
said=$(in_build deploy/setup.sh)
[ -z "$said" ] || { echo "image: the second setup run printed: $said" >&2; exit 1; }

echo "image: the last stage"
command=$(awk '/^FROM debian:/ { last = 1 } last && /^RUN / { on = 1 } on { print; if ($0 !~ /\\$/) exit }' "$description" \
    | sed -e 's/^RUN //' -e 's/--mount=[^ ]*//' -e 's/\\$//' | tr '\n' ' ')
mkdir -p "$work/product" "$work/final/out" "$work/final/proc"
install -m 0755 "$binary" "$work/product/picotap"
mount --bind "$work/product" "$work/final/out"
mount -t proc proc "$work/final/proc"
chroot "$work/final" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive sh -euc "$command" \
    > "$work/final.log" 2>&1 || { tail -n 30 "$work/final.log" >&2; exit 1; }

user=$(sed -n 's/^USER \([0-9]*\):[0-9]*$/\1/p' "$description")
capability=$(getcap "$work/final/usr/bin/picotap")
case $capability in *cap_net_raw=ep) ;; *) echo "image: capability: $capability" >&2; exit 1 ;; esac
chroot --userspec="$user:$user" "$work/final" /usr/bin/picotap --version
if chroot "$work/final" sh -c 'command -v setcap' >/dev/null; then echo "image: setcap was left behind" >&2; exit 1; fi
umount "$work/final/out" "$work/final/proc"
echo "image: $(du -sm --exclude=proc "$work/final" | cut -f1) MB unpacked, of which picotap $(du -m "$binary" | cut -f1) MB"
