"""Validates HTTP Archives by the JSON schemas of HAR 1.2 that the package har-schema has.

usage: har.py SCHEMAS FILE...
"""

import json
import pathlib
import sys

import jsonschema
import referencing
from referencing.jsonschema import DRAFT6

folder, *files = sys.argv[1:]
schemas = [json.loads(path.read_text()) for path in sorted(pathlib.Path(folder).glob("*.json"))]
resources = [(schema["$id"].rstrip("#"), referencing.Resource(schema, DRAFT6)) for schema in schemas]
registry = referencing.Registry().with_resources(resources)
whole = next(schema for schema in schemas if schema["$id"].startswith("har.json"))
validator = jsonschema.Draft6Validator(whole, registry=registry, format_checker=jsonschema.Draft6Validator.FORMAT_CHECKER)
for file in files:
    document = json.loads(pathlib.Path(file).read_text(encoding="utf-8"))
    validator.validate(document)
    print(len(document["log"]["entries"]))
