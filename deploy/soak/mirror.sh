#!/bin/sh
# Prints the Debian mirror of this system's own release: DEBIAN_MIRROR, or the one apt is configured with.
set -eu

if [ -n "${DEBIAN_MIRROR:-}" ]; then
    echo "$DEBIAN_MIRROR"
    exit 0
fi
# shellcheck source=/dev/null
. /etc/os-release
# apt substitutes the two variables.
# shellcheck disable=SC2016
site=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' |
    sed -n "s/ ${VERSION_CODENAME:-none}\$//p" | head -n 1)
if [ -z "$site" ]; then
    echo "mirror: apt has no mirror for the release ${VERSION_CODENAME:-of this system}: set DEBIAN_MIRROR" >&2
    exit 1
fi
echo "$site"
