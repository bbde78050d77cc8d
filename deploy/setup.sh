#!/bin/sh
# Installs what picotap's build needs and this machine lacks; with --test also what the tests need, with --soak what the
# long tests need, with --fuzz what the fuzzer needs, with --static what the static binary needs.
# Prints nothing when nothing is missing. Lists what it cannot install, and exits with 1. Never starts a service.
set -eu

with_tests=no
with_soak=no
with_fuzz=no
with_static=no
for option in "$@"; do
    case $option in
        --test) with_tests=yes ;;
        --soak) with_soak=yes ;;
        --fuzz) with_fuzz=yes ;;
        --static) with_static=yes ;;
        *) echo "setup: unknown option $option (usage: deploy/setup.sh [--test] [--soak] [--fuzz] [--static])" >&2; exit 2 ;;
    esac
done

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
scratch=$(mktemp -d)
policy=
# shellcheck disable=SC2317
tidy() {
    rm -rf "$scratch"
    if [ -n "$policy" ]; then rm -f "$policy"; fi
}
trap tidy EXIT
trap 'exit 1' INT TERM HUP

have() { command -v "$1" >/dev/null 2>&1; }
# nginx, setcap and others are in sbin, which is not in every user's PATH.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

# ---- what is missing ----------------------------------------------------------------------------------------------
# Each check tries the tool itself, not a package database: tools built by hand count as well.

# Whether clang can build a wasm module that includes a header and links memcpy: tests clang, wasm-ld, wasi-libc and the
# compiler's runtime at once.
wasm_compiler() {
    printf '%s\n' '#include <string.h>' '#include <stdint.h>' \
        'void copy(char *to, const char *from, unsigned n) { memcpy(to, from, n); }' > "$scratch/try.c"
    for clang in ${PICOTAP_CLANG:-clang-19 clang-20 clang-21 clang}; do
        if have "$clang" && "$clang" --target=wasm32-wasi -nostartfiles -Wl,--no-entry -Wl,--export=copy \
            "$scratch/try.c" -o "$scratch/try.wasm" >/dev/null 2>&1; then
            return 0
        fi
    done
    return 1
}

c_compiler() {
    echo 'int main(void) { return 0; }' > "$scratch/main.c"
    have cc && cc "$scratch/main.c" -o "$scratch/main" >/dev/null 2>&1
}

# libFuzzer is C++.
cxx_compiler() {
    printf '%s\n' '#include <vector>' 'int main() { return (int)std::vector<int>().size(); }' > "$scratch/main.cc"
    have c++ && c++ "$scratch/main.cc" -o "$scratch/cxx" >/dev/null 2>&1
}

# Whether clang can build a program of 32 bits with AddressSanitizer and libFuzzer: for the parsers in C. Only x86-64 runs one.
sanitizers() {
    [ "$(uname -m)" = x86_64 ] || return 0
    printf '%s\n' '#include <string.h>' 'int LLVMFuzzerTestOneInput(const char *data, unsigned size);' \
        'int LLVMFuzzerTestOneInput(const char *data, unsigned size) { return memchr(data, 0, size) != 0; }' > "$scratch/fuzz.c"
    for clang in ${PICOTAP_CLANG:-clang-19 clang-20 clang-21 clang}; do
        if have "$clang"; then
            "$clang" -m32 -fsanitize=fuzzer,address,undefined "$scratch/fuzz.c" -o "$scratch/fuzz" >/dev/null 2>&1
            return
        fi
    done
    return 1
}

libpcap() {
    echo 'int pcap_findalldevs(void); int main(void) { return pcap_findalldevs != 0; }' > "$scratch/pcap.c"
    [ -n "${LIBPCAP_LIBDIR:-}" ] || cc "$scratch/pcap.c" -lpcap -o "$scratch/pcap" >/dev/null 2>&1
}

python_venv() { python3 -c 'import venv, ensurepip' >/dev/null 2>&1; }

# Prints the missing tools, one per line; `packages` below turns them into package names.
missing() {
    c_compiler || echo cc
    wasm_compiler || echo wasm
    libpcap || echo libpcap
    have pkg-config || echo pkg-config
    if [ $with_tests = yes ]; then
        for tool in tshark promtool nginx curl wrk ip tcpdump jq zstd gzip setcap unshare setpriv systemd-analyze mandoc \
            haproxy squid microsocks redis-server redis-benchmark redis-cli goaccess iptables chromium pngquant tmux openssl; do
            have "$tool" || echo $tool
        done
        python_venv || echo venv
        sanitizers || echo sanitizers
        ! have apt-get || [ -f /usr/share/nodejs/har-schema/lib/har.json ] || echo har-schema
    fi
    if [ $with_soak = yes ]; then
        have debootstrap || echo debootstrap
        java -version >/dev/null 2>&1 || echo java
    fi
    if [ $with_static = yes ]; then
        for tool in flex bison make dpkg-source git; do have "$tool" || echo $tool; done
    fi
    if [ $with_fuzz = yes ]; then
        cxx_compiler || echo c++
        have python3 || echo python3
        [ $with_tests = yes ] || sanitizers || echo sanitizers
    fi
}

# ---- package names ------------------------------------------------------------------------------------------------
# apt: Debian 12 and later, Ubuntu 24.04 and later. dnf and apk: names from those systems' package lists, not tested.
apt_wasm() {
    for version in 19 20 21; do
        if apt-cache show "clang-$version" "lld-$version" "libclang-rt-$version-dev-wasm32" >/dev/null 2>&1; then
            echo "clang-$version lld-$version libclang-rt-$version-dev-wasm32 wasi-libc"
            return
        fi
    done
    echo "clang-19 lld-19 libclang-rt-19-dev-wasm32 wasi-libc"
}

# The runtimes of clang's sanitizers are those of the clang that is there, or will be.
apt_sanitizers() {
    for version in 19 20 21; do
        if have "clang-$version" || apt-cache show "clang-$version" >/dev/null 2>&1; then
            echo "libclang-rt-$version-dev gcc-multilib g++-multilib"
            return
        fi
    done
    echo "libclang-rt-19-dev gcc-multilib g++-multilib"
}

package() {
    case $manager:$1 in
        apt:cc) echo "gcc libc6-dev" ;;
        apt:c++) echo g++ ;;
        apt:wasm) apt_wasm ;;
        apt:sanitizers) apt_sanitizers ;;
        apt:libpcap) echo libpcap-dev ;;
        apt:promtool) echo prometheus ;;
        apt:nginx) echo nginx-light ;;
        apt:setcap) echo libcap2-bin ;;
        apt:systemd-analyze) echo systemd ;;
        apt:har-schema) echo node-har-schema ;;
        apt:java) echo openjdk-17-jre-headless ;;
        apt:dpkg-source) echo dpkg-dev ;;
        apt:venv) echo "python3 python3-venv" ;;
        apt:redis-benchmark | apt:redis-cli) echo redis-tools ;;
        dnf:cc) echo gcc ;;
        dnf:c++) echo gcc-c++ ;;
        dnf:wasm) echo "clang lld compiler-rt wasi-libc-devel wasi-libc-static" ;;
        dnf:sanitizers) echo "compiler-rt compiler-rt.i686 glibc-devel.i686 libstdc++-devel.i686" ;;
        dnf:libpcap) echo libpcap-devel ;;
        dnf:pkg-config) echo pkgconf-pkg-config ;;
        dnf:tshark) echo wireshark-cli ;;
        dnf:promtool) echo golang-github-prometheus ;;
        dnf:setcap) echo libcap ;;
        dnf:systemd-analyze) echo systemd ;;
        dnf:java) echo java-17-openjdk-headless ;;
        dnf:venv) echo python3 ;;
        apk:cc) echo "gcc musl-dev" ;;
        apk:c++) echo g++ ;;
        apk:wasm) echo "clang lld wasi-libc wasi-compiler-rt" ;;
        apk:libpcap) echo libpcap-dev ;;
        apk:pkg-config) echo pkgconf ;;
        apk:promtool) echo prometheus ;;
        apk:setcap) echo libcap-utils ;;
        apk:systemd-analyze) ;;
        apk:java) echo openjdk17-jre-headless ;;
        apk:venv) echo python3 ;;
        *:ip) case $manager in dnf) echo iproute ;; *) echo iproute2 ;; esac ;;
        *:unshare | *:setpriv) echo util-linux ;;
        dnf:redis-* | apk:redis-*) echo redis ;;
        *) echo "$1" ;;
    esac
}

packages() {
    for need in "$@"; do package "$need"; done | tr '\n' ' ' | sed 's/ $//'
}

# ---- installing ---------------------------------------------------------------------------------------------------
# python_tools DIRECTORY REQUIREMENTS: with pip, below target/; the system's Python is not touched.
python_tools() {
    if cmp -s "$2" "$root/$1/installed.txt"; then return; fi
    echo "setup: installing with pip into $1: $(grep -v '^#' "$2" | tr '\n' ' ' | sed 's/ $//')"
    rm -rf "${root:?}/$1"
    mkdir -p "$(dirname "$root/$1")"
    python3 -m venv "$root/$1"
    "$root/$1/bin/pip" install -q --disable-pip-version-check -r "$2"
    cp "$2" "$root/$1/installed.txt"
}

# invoke-rc.d runs this file before a package's script starts a service: exit code 101 forbids it.
forbid_services() {
    if [ "$(id -u)" = 0 ] && [ ! -e /usr/sbin/policy-rc.d ]; then
        policy=/usr/sbin/policy-rc.d
        printf '#!/bin/sh\nexit 101\n' > "$policy"
        chmod 755 "$policy"
    fi
}

install() {
    # shellcheck disable=SC2086
    case $manager in
        apt)
            forbid_services
            $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $1
            if have systemctl && systemctl is-system-running >/dev/null 2>&1; then
                for service in prometheus nginx haproxy squid redis-server; do
                    case " $1 " in *" $service"*) $as_root systemctl disable --now "$service" >/dev/null 2>&1 || : ;; esac
                done
            fi ;;
        dnf) $as_root dnf install -y -q $1 ;;
        apk) $as_root apk add -q $1 ;;
    esac
}

manager=none
for candidate in apt-get dnf apk; do
    if have $candidate; then manager=${candidate%-get}; break; fi
done

# Installing packages needs root. sudo with a password is possible only on a terminal.
as_root=no
if [ "$(id -u)" = 0 ]; then
    as_root=
elif have sudo && { [ -t 0 ] || sudo -n true >/dev/null 2>&1; }; then
    as_root=sudo
fi

needs=$(missing | tr '\n' ' ')
if [ -n "$needs" ]; then
    log=$scratch/log
    if [ "$manager" = none ]; then
        manager=apt
        # shellcheck disable=SC2086
        echo "setup: missing: ${needs% }; no supported package manager (apt, dnf, apk) found. Debian's package names: $(packages $needs)" >&2
        exit 1
    fi
    if [ "$as_root" = no ]; then
        command="$manager install"
        case $manager in apt) command="apt-get update && apt-get install -y" ;; apk) command="apk add" ;; esac
        # shellcheck disable=SC2086
        echo "setup: missing: ${needs% }; as root run: $command $(packages $needs)" >&2
        exit 1
    fi
    # Package lists may be stale or, on a fresh image, missing. If the mirror fails, the installation below reports it.
    if [ "$manager" = apt ]; then
        $as_root apt-get update -q > "$log" 2>&1 || echo "setup: apt-get update failed; continuing with the existing package lists" >&2
    fi
    # shellcheck disable=SC2086
    names=$(packages $needs)
    echo "setup: installing with $manager: $names"
    if ! install "$names" > "$log" 2>&1 < /dev/null; then
        tail -n 20 "$log" >&2
        echo "setup: $manager could not install: $names" >&2
        exit 1
    fi
    left=$(missing | tr '\n' ' ')
    if [ -n "$left" ]; then
        echo "setup: still missing after installing $names: ${left% }" >&2
        exit 1
    fi
fi

# Debian has Suricata only in backports.
if [ $with_soak = yes ] && ! have suricata; then
    if [ "$manager" != apt ] || [ "$as_root" = no ]; then
        echo "setup: missing: suricata (7 or later): install it" >&2
        exit 1
    fi
    echo "setup: installing with apt: suricata"
    $as_root "$root/deploy/soak/install.sh" suricata
fi

# ---- Rust ---------------------------------------------------------------------------------------------------------
if ! have cargo; then
    echo "setup: missing: cargo (Rust 1.95 or later): install rustup, then run: rustup toolchain install stable" >&2
    exit 1
fi
if [ $with_fuzz = yes ] && ! cargo fuzz --version >/dev/null 2>&1; then
    echo "setup: installing with cargo: cargo-fuzz"
    cargo install -q --locked cargo-fuzz
fi
if [ $with_tests = yes ]; then
    for part in fmt:rustfmt clippy:clippy; do
        if ! cargo "${part%%:*}" --version >/dev/null 2>&1; then
            if ! have rustup; then
                echo "setup: missing: cargo ${part%%:*}: install the Rust component ${part##*:}" >&2
                exit 1
            fi
            echo "setup: installing with rustup: ${part##*:}"
            rustup component add "${part##*:}"
        fi
    done

    # cargo deny reads the manifests of all crates, those of other platforms too.
    cargo fetch -q --locked --manifest-path "$root/Cargo.toml" || echo "setup: cargo fetch failed; the test of licences needs all crates" >&2

    # The checkers of the deployment files.
    python_tools target/tools "$root/deploy/check/requirements.txt"

    # Debian 13 with its OpenSSL, which probes are tried on; where it cannot be had, the test says so.
    other=$root/target/tools/debian13
    if [ "$manager" = apt ] && ! [ -f "$other/complete" ]; then
        echo "setup: fetching with apt-get into target/tools/debian13: nginx-light curl openssl of Debian 13"
        "$root/deploy/check/debian13.sh" "$other" || echo "setup: there is no Debian 13; the test of its OpenSSL needs it" >&2
    fi
fi

# Spark and DuckDB, for the long tests only: some 500 MB.
if [ $with_soak = yes ]; then
    python_tools target/soak-tools "$root/deploy/soak/requirements.txt"
fi
