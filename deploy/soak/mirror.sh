#!/bin/sh
# Prints the Debian mirror from which apt takes this system's own release: DEBIAN_MIRROR, or what apt is set to.
set -eu

if [ -n "${DEBIAN_MIRROR:-}" ]; then
    echo "$DEBIAN_MIRROR"
    exit 0
fi
# shellcheck source=/dev/null
. /etc/os-release
# apt fills the two words in.
# shellcheck disable=SC2016
site=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' |
    sed -n "s/ ${VERSION_CODENAME:-none}\$//p" | head -n 1)
if [ -z "$site" ]; then
    echo "mirror: apt knows none for the release ${VERSION_CODENAME:-of this system}: set DEBIAN_MIRROR to one" >&2
    exit 1
fi
echo "$site"
