#!/bin/sh
# Builds picotap as one static binary: glibc and libpcap inside, no shared libraries, no names looked up but in files.
#   deploy/static/build.sh        writes target/static/picotap; picotap.sha256 and picotap.cdx.json (what is in it, CycloneDX) beside it
# Made so that the same commit gives the same bits with the same versions of rustc, clang, gcc and glibc: paths of the repository and
# of cargo's home are mapped away, and the only time is that of the commit. `deploy/static/compare.sh` builds twice and compares.
# Needs what `deploy/setup.sh --static` installs, and Debian's or Ubuntu's package source. For the machine's own architecture:
# x86-64, and aarch64 (untried).
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
cd "$root"
work=$root/target/static
mkdir -p "$work"

SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || echo 0)
export SOURCE_DATE_EPOCH LC_ALL=C TZ=UTC
target=$(rustc -vV | sed -n 's/^host: //p')
case $target in
    *-linux-gnu) ;;
    *) echo "static: $target: this script is for targets with glibc" >&2; exit 1 ;;
esac

# ---- libpcap ------------------------------------------------------------------------------------------------------
# From the source package of this Debian, without dbus, USB, Bluetooth, RDMA and libnl: what is left needs only the kernel.
pcap=$work/libpcap
if [ ! -e "$pcap/lib/libpcap.a" ]; then
    rm -rf "$work/source" "$pcap"
    mkdir -p "$work/source/lists/partial" "$work/source/parts"
    # The machine's own package sources, with those of source packages switched on. What is fetched is signed as usual.
    for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list; do
        [ -f "$file" ] || continue
        grep -q 'debian\|ubuntu' "$file" || continue
        sed -e 's/^Types:.*/Types: deb-src/' -e 's/^deb /deb-src /' "$file" > "$work/source/parts/$(basename "$file")"
    done
    apt() {
        apt-get -q -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts="$work/source/parts" \
            -o Dir::State::Lists="$work/source/lists" -o APT::Sandbox::User=root "$@"
    }
    (
        cd "$work/source"
        apt update
        apt source libpcap
        cd libpcap-*/
        CFLAGS="-O2 -g0 -fPIC -ffile-prefix-map=$PWD=/libpcap" ./configure --prefix="$pcap" --disable-shared --disable-dbus \
            --disable-usb --disable-bluetooth --disable-rdma --disable-netmap --disable-remote --without-libnl --without-dag \
            --without-septel --without-snf --without-turbocap --without-dpdk
        make -j1
        make install
    ) > "$work/libpcap.log" 2>&1 || { tail -n 20 "$work/libpcap.log" >&2; echo "static: libpcap was not built" >&2; exit 1; }
    basename "$work"/source/libpcap_*.dsc .dsc > "$pcap/version"
    rm -rf "$work/source"
fi
cc -O2 -g0 -c deploy/static/names.c -o "$work/names.o"

# ---- picotap ------------------------------------------------------------------------------------------------------
# With --target the flags are not those of build scripts and macros, which must stay dynamic.
cargo_home=${CARGO_HOME:-$HOME/.cargo}
sysroot=$(rustc --print sysroot)
RUSTFLAGS="-C target-feature=+crt-static -C link-arg=$work/names.o -C link-arg=-Wl,--build-id=none \
--remap-path-prefix=$root=/picotap --remap-path-prefix=$cargo_home=/cargo --remap-path-prefix=$sysroot=/rust"
CFLAGS="-ffile-prefix-map=$root=/picotap -ffile-prefix-map=$cargo_home=/cargo"
LIBPCAP_LIBDIR=$pcap/lib
LIBPCAP_VER=$(sed 's/^libpcap_\([0-9.]*\).*/\1/' "$pcap/version")
export RUSTFLAGS CFLAGS LIBPCAP_LIBDIR LIBPCAP_VER
# With --target nothing is shared with the build's own tools, which run once: optimising them takes longer than they do.
export CARGO_INCREMENTAL=0 CARGO_PROFILE_RELEASE_BUILD_OVERRIDE_OPT_LEVEL=0
cargo build --release --locked --bin picotap --target "$target" --target-dir "$work/cargo"

install -m 0755 "$work/cargo/$target/release/picotap" "$work/picotap"
strip --strip-all "$work/picotap"
if readelf -d "$work/picotap" | grep -q NEEDED; then
    echo "static: the binary needs shared libraries:" >&2
    readelf -d "$work/picotap" | grep NEEDED >&2
    exit 1
fi
python3 deploy/static/sbom.py "$work/picotap" "$target" "$(cat "$pcap/version")" > "$work/picotap.cdx.json"
(cd "$work" && sha256sum picotap picotap.cdx.json > picotap.sha256 && cat picotap.sha256)
echo "static: $(stat -c %s "$work/picotap") bytes, with $(cat "$pcap/version") of Debian"
