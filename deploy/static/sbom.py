#!/usr/bin/env python3
"""The bill of materials of the static binary, in CycloneDX 1.6: everything whose code is in it.

    sbom.py BINARY TARGET LIBPCAP > picotap.cdx.json     LIBPCAP: name and version of Debian's source package

Crates are those that cargo links for the target (procedural macros and build tools are not in the binary), with the checksums of
Cargo.lock. Beside them stand the C libraries that are linked statically, which tools that list crates do not know.
"""

import hashlib
import json
import os
import subprocess
import sys
import tomllib
import uuid
from datetime import datetime, timezone

# Debian's packages with code that is linked: into the program, and into the parser's module.
LINKED = ["libc6-dev", "libgcc", "wasi-libc", "libclang-rt"]


def said(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def crates(target):
    """The crates that are linked, each with those that it needs, as cargo draws them: cargo's metadata unites the features of all uses,
    those of build tools too, and so names crates that are not linked."""
    tree = said("cargo", "tree", "--locked", "--edges=normal,no-proc-macro", "--target", target, "--prefix=depth", "--format= {p}")
    found, above = {}, []
    for line in tree.splitlines():
        # 2 crate v1.0.0 (*): the star marks a crate whose needs were printed before.
        depth, name, version = line.split()[:3]
        at = name, version.removeprefix("v")
        del above[int(depth):]
        found.setdefault(at, set())
        if above:
            found[above[-1]].add(at)
        above.append(at)
    return found


def crate(name, version, licence, checksum):
    purl = f"pkg:cargo/{name}@{version}"
    component = {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
    if licence:
        # The slash is an older notation, which is no expression.
        component["licenses"] = [{"expression": licence.replace(" / ", " OR ").replace("/", " OR ")}]
    if checksum:
        component["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    return component


def library(name, version, purl):
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def debian(distribution):
    """Packages of the machine whose libraries are linked statically."""
    listed = said("dpkg-query", "-W", "-f", "${Package} ${Version} ${db:Status-Abbrev} ${Architecture}\n")
    for line in listed.splitlines():
        name, version, status, architecture = line.split()[:4]
        libgcc = name.startswith("libgcc-") and name.endswith("-dev")
        if status.startswith("ii") and (libgcc or any(name.startswith(linked) for linked in LINKED if linked != "libgcc")):
            purl = f"pkg:deb/{distribution}/{name}@{version.replace('+', '%2B').replace('~', '%7E')}?arch={architecture}"
            yield library(name, version, purl)


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    binary, target, libpcap = sys.argv[1:]
    with open("Cargo.lock", "rb") as file:
        checksums = {(p["name"], p["version"]): p.get("checksum") for p in tomllib.load(file)["package"]}
    metadata = json.loads(said("cargo", "metadata", "--format-version=1", "--locked", "--filter-platform", target))
    licences = {(p["name"], p["version"]): p["license"] for p in metadata["packages"]}
    found = crates(target)
    components = {at: crate(*at, licences[at], checksums[at]) for at in found}
    # cargo prints the package itself first.
    root = next(iter(found))
    program = components.pop(root)
    with open(binary, "rb") as file:
        digest = hashlib.sha256(file.read()).hexdigest()
    program |= {"type": "application", "hashes": [{"alg": "SHA-256", "content": digest}]}
    with open("/etc/os-release") as file:
        distribution = next(line.partition("=")[2].strip().strip('"') for line in file if line.startswith("ID="))
    name, _, version = libpcap.partition("_")
    others = [library(name, version, f"pkg:deb/{distribution}/{name}@{version}?arch=source"), *debian(distribution)]
    rust = said("rustc", "--version").split()[1]
    others.append(library("rust-std", rust, f"pkg:generic/rust-std@{rust}"))
    needs = {program["bom-ref"]: [components[i]["bom-ref"] for i in found[root]] + [other["bom-ref"] for other in others]}
    needs |= {components[i]["bom-ref"]: [components[n]["bom-ref"] for n in found[i]] for i in components}
    when = datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH", "0")), timezone.utc)
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        # The same binary has the same number.
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, digest)}",
        "version": 1,
        "metadata": {"timestamp": when.strftime("%Y-%m-%dT%H:%M:%SZ"), "component": program},
        "components": sorted([*components.values(), *others], key=lambda one: one["bom-ref"]),
        "dependencies": [{"ref": ref, "dependsOn": sorted(needs[ref])} for ref in sorted(needs)],
    }
    json.dump(bill, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
