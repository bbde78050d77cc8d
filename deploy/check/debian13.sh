#!/bin/sh
# Makes a root of Debian 13 with nginx, curl and OpenSSL 3.5: its packages, taken apart into a directory. No script of theirs runs, and
# the system's own packages stay as they are. From the mirror that apt is configured with, in about a minute; not
# at all where that is no mirror of Debian's.
#
#   deploy/check/debian13.sh DIRECTORY
set -eu

if [ $# -ne 1 ]; then
    echo "usage: deploy/check/debian13.sh DIRECTORY" >&2
    exit 2
fi
root=$1
suite=trixie
packages="nginx-light curl openssl"
# The longest that the mirror may take for each of two steps, in seconds.
patience=240
if [ -f "$root/complete" ]; then
    exit 0
fi
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
mirror=$("$here/../soak/mirror.sh")
keys=/usr/share/keyrings/debian-archive-keyring.gpg
if ! [ -f "$keys" ]; then
    echo "debian13: $keys is missing, which Debian signs its packages with: install debian-archive-keyring" >&2
    exit 1
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM HUP

# apt's own tools, with a state of their own in which nothing is installed.
mkdir -p "$work/etc/apt/preferences.d" "$work/etc/apt/apt.conf.d" "$work/var/lib/apt/lists/partial" \
    "$work/var/cache/apt/archives/partial" "$work/var/lib/dpkg"
: > "$work/var/lib/dpkg/status"
echo "deb [signed-by=$keys] $mirror $suite main" > "$work/etc/apt/sources.list"
# It fetches as the user that starts it: another could not write into this directory.
get() {
    timeout "$patience" apt-get -qq -y -o "Dir=$work" -o "Dir::State::status=$work/var/lib/dpkg/status" -o APT::Sandbox::User=root \
        -o Acquire::Languages=none -o Acquire::Retries=1 -o Acquire::http::Timeout=20 "$@" > "$work/log" 2>&1 < /dev/null || {
        tail -n 5 "$work/log" >&2
        echo "debian13: apt-get $1 failed" >&2
        exit 1
    }
}
get update
# shellcheck disable=SC2086
get install --download-only --no-install-recommends $packages

rm -rf "$root"
mkdir -p "$root/usr/bin" "$root/usr/sbin" "$root/usr/lib" "$root/usr/lib64"
for package in "$work"/var/cache/apt/archives/*.deb; do
    dpkg-deb --fsys-tarfile "$package" > "$work/tar"
    tar -x -f "$work/tar" -C "$root" --no-same-owner --exclude=./usr/share/doc --exclude=./usr/share/man --exclude=./usr/share/locale
done
# What the package base-files has beside this.
mkdir -p "$root/dev" "$root/proc" "$root/run" "$root/tmp" "$root/var/log/nginx" "$root/var/lib/nginx"
for directory in bin sbin lib lib64; do
    ln -sfn "usr/$directory" "$root/$directory"
done
printf 'root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n' > "$root/etc/passwd"
printf 'root:x:0:\nnogroup:x:65534:\n' > "$root/etc/group"
: > "$root/complete"
