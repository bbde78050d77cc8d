#!/usr/bin/env python3
"""Checks a bill of materials against CycloneDX's own schema, strictly, and that no reference in it leads nowhere.

    bill.py FILE.cdx.json
"""

import json
import sys

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

path = sys.argv[1]
with open(path) as file:
    text = file.read()
if fault := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
    sys.exit(f"{path}: {fault}")
bill = json.loads(text)
parts = [bill["metadata"]["component"], *bill["components"]]
references = {part["bom-ref"] for part in parts}
if len(references) != len(parts):
    sys.exit(f"{path}: a component occurs twice")
for part in parts:
    PackageURL.from_string(part["purl"])
for needs in bill["dependencies"]:
    if lost := {needs["ref"], *needs["dependsOn"]} - references:
        sys.exit(f"{path}: no such component: {lost}")
print(f"{path}: {len(parts)} components")
