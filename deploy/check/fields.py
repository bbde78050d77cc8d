#!/usr/bin/env python3
"""Checks deployment files that no command line checks, with what their own projects or those close to them publish.

    fields.py servicemonitor FILE.yaml           against the models of the Prometheus operator's resources
    fields.py vector FILE.yaml TABLE.sql < LINES runs the remap transform (VRL) over picotap's JSON lines; what comes out
                                                 must be what the ClickHouse table takes
"""

import json
import re
import sys

import yaml


def unknown(given, known, place):
    """Keys of `given` that the model did not take over: it drops what it does not know."""
    if isinstance(given, dict):
        for key, value in given.items():
            if not isinstance(known, dict) or key not in known:
                yield f"{place}.{key}"
            else:
                yield from unknown(value, known[key], f"{place}.{key}")
    elif isinstance(given, list):
        for number, value in enumerate(given):
            yield from unknown(value, known[number], f"{place}[{number}]")


def service_monitor(path):
    from cloudcoil.models.prometheus_operator.v1 import ServiceMonitor

    with open(path) as file:
        given = yaml.safe_load(file)
    known = ServiceMonitor.model_validate(given).model_dump(by_alias=True, exclude_none=True)
    found = list(unknown(given, known, given["kind"]))
    if found:
        sys.exit(f"{path}: no such fields: {', '.join(found)}")
    print(f"{path}: good")


def columns(path):
    """Names of the table's columns, and of those without a default."""
    with open(path) as file:
        body = re.search(r"CREATE TABLE[^(]*\(\n(.*?)\n\)\n", file.read(), re.S).group(1)
    lines = [line.strip() for line in body.splitlines()]
    optional = {line.split()[0] for line in lines if " DEFAULT " in line or "Nullable(" in line or "Array(" in line}
    names = {line.split()[0] for line in lines}
    return names, names - optional


def vector(path, table):
    import vrl_python

    with open(path) as file:
        given = yaml.safe_load(file)
    parts = {**given["sources"], **given["transforms"]}
    for name, part in {**given["transforms"], **given["sinks"]}.items():
        for source in part["inputs"]:
            known = source in parts or source.removesuffix(".dropped") in given["transforms"]
            if not known:
                sys.exit(f"{path}: {name} reads {source}, which is not there")
    remap = [part for part in given["transforms"].values() if part["type"] == "remap"]
    if len(remap) != 1:
        sys.exit(f"{path}: {len(remap)} remap transforms")
    source = remap[0]["source"]
    fault = vrl_python.VRLRuntime.check_syntax(source)
    if fault is not None:
        sys.exit(f"{path}: {fault}")
    runtime = vrl_python.VRLRuntime()
    names, needed = columns(table)
    seen, count = set(), 0
    for line in sys.stdin:
        event = runtime.execute(source, {"message": line.rstrip("\n")}).processed_event
        if any(event.get(key) != value for key, value in json.loads(line).items()):
            sys.exit(f"{path}: what comes out is not the line any more: {line}")
        if not needed <= event.keys():
            sys.exit(f"{path}: the table needs {', '.join(needed - event.keys())}: {line}")
        seen |= event.keys()
        count += 1
    missing = seen - names - {"request_headers", "response_headers"}
    if missing:
        sys.exit(f"{table}: no columns for {', '.join(sorted(missing))}")
    # A line has its interface when it was captured live.
    idle = names - seen - {"interface"}
    if idle:
        sys.exit(f"{table}: columns that no line has: {', '.join(sorted(idle))}")
    for rubbish in ["no JSON", "[1]"]:
        try:
            runtime.execute(source, {"message": rubbish})
        except Exception:
            continue
        sys.exit(f"{path}: {rubbish!r} is taken for a line of the log")
    print(f"{path}: good, {count} lines")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["servicemonitor", path]:
            service_monitor(path)
        case ["vector", path, table]:
            vector(path, table)
        case _:
            sys.exit(__doc__)
