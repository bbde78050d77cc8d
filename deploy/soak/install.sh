#!/bin/sh
# Installs a Debian package for the long tests, from backports if the installed release lacks it. Starts no service. Needs root.
#
#   deploy/soak/install.sh PACKAGE
set -eu

if [ $# -ne 1 ]; then
    echo "usage: deploy/soak/install.sh PACKAGE" >&2
    exit 2
fi
package=$1
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
policy=
listing=
tidy() {
    # shellcheck disable=SC2086
    rm -f $policy $listing
}
trap tidy EXIT
trap 'exit 1' INT TERM HUP

# invoke-rc.d asks this file before a package's script starts a service: 101 is no.
if ! [ -e /usr/sbin/policy-rc.d ]; then
    policy=/usr/sbin/policy-rc.d
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod 755 "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
get() {
    apt-get -qq -y --no-install-recommends "$@" install "$package" > /dev/null < /dev/null
}
if get 2> /dev/null; then
    exit 0
fi
mirror=$("$here/mirror.sh")
# shellcheck source=/dev/null
. /etc/os-release
listing=/etc/apt/sources.list.d/picotap-soak.list
echo "deb $mirror $VERSION_CODENAME-backports main" > "$listing"
apt-get -qq update || echo "install: apt-get update failed; continuing with the existing package lists" >&2
get -t "$VERSION_CODENAME-backports"
