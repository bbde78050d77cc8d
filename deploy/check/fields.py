#!/usr/bin/env python3
"""Checks deployment files that no command line checks, with what their own projects or those close to them publish.

    fields.py helm CHART DIRECTORY < VALUES      lints a chart with these values (JSON) as Helm does, and writes what it renders to
                                                 files of the directory; a PodMonitor is checked against its model
    fields.py otlp LINES.jsonl < SPANS           parses OTLP lines into the messages of opentelemetry-proto, and compares them with
                                                 the JSON lines of the same run
    fields.py schema SCHEMA PAGE SECTION < LINES
                                                 JSON lines against the published schema, and the schema against the table in this
                                                 section of the page
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


def monitor(path, given):
    from cloudcoil.models.prometheus_operator import v1

    model = {"ServiceMonitor": v1.ServiceMonitor, "PodMonitor": v1.PodMonitor}[given["kind"]]
    known = model.model_validate(given).model_dump(by_alias=True, exclude_none=True)
    found = list(unknown(given, known, given["kind"]))
    if found:
        sys.exit(f"{path}: no such fields: {', '.join(found)}")
    print(f"{path}: good")


def helm(chart, directory):
    import os

    from helm_python import chart as charts

    values = json.load(sys.stdin)
    # The linter takes the version of the oldest Kubernetes that the chart is for.
    report = charts.lint(chart, values, strict=True, namespace="capture", kube_version="v1.25.0")
    # An icon is for catalogues.
    faults = [m for m in report["messages"] if m["severity"] > 1]
    if report["errors"] or faults:
        sys.exit(f"{chart}: {report['errors']} {faults}")
    rendered = charts.Chart.load(chart).render(values, name="tap", namespace="capture")
    for path, text in rendered.items():
        if path.endswith(".txt") or yaml.safe_load(text) is None:
            continue
        given = yaml.safe_load(text)
        if given["kind"] == "PodMonitor":
            monitor(path, given)
        with open(os.path.join(directory, given["kind"] + ".yaml"), "w") as file:
            yaml.safe_dump(given, file)
    print(f"{chart}: good")


def columns(path):
    """Names of the table's columns, and of those without a default."""
    with open(path) as file:
        body = re.search(r"CREATE TABLE[^(]*\(\n(.*?)\n\)\n", file.read(), re.S).group(1)
    lines = [line.strip() for line in body.splitlines()]
    filled = (" DEFAULT ", "Nullable(", "Array(", "Tuple(")
    optional = {line.split()[0] for line in lines if any(text in line for text in filled)}
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
    # A line has its interface when it was captured live, tls when it was decrypted, and processes with --processes; the table itself
    # says when it was inserted.
    idle = names - seen - {"interface", "inserted", "tls", "client_process", "server_process"}
    if idle:
        sys.exit(f"{table}: columns that no line has: {', '.join(sorted(idle))}")
    for rubbish in ["no JSON", "[1]"]:
        try:
            runtime.execute(source, {"message": rubbish})
        except Exception:
            continue
        sys.exit(f"{path}: {rubbish!r} is taken for a line of the log")
    print(f"{path}: good, {count} lines")


def otlp(path):
    import base64

    from google.protobuf import json_format
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

    def value(any_value):
        kind = any_value.WhichOneof("value")
        return getattr(any_value, kind)

    def spans(line):
        given = json.loads(line)
        # OTLP's one difference from the JSON encoding of protobuf: identifiers are hexadecimal.
        for group in given["resourceSpans"]:
            for scope in group["scopeSpans"]:
                for span in scope["spans"]:
                    for key in span.keys() & {"traceId", "spanId", "parentSpanId"}:
                        span[key] = base64.b64encode(bytes.fromhex(span[key])).decode()
        request = json_format.ParseDict(given, ExportTraceServiceRequest())
        for group in request.resource_spans:
            names = {attribute.key: value(attribute.value) for attribute in group.resource.attributes}
            if names.get("service.name") != "picotap":
                sys.exit(f"no service: {line}")
            for scope in group.scope_spans:
                yield from scope.spans

    with open(path) as file:
        lines = [json.loads(line) for line in file]
    found, seen = [span for line in sys.stdin for span in spans(line)], set()
    if len(found) != len(lines):
        sys.exit(f"{len(found)} spans of {len(lines)} transactions")
    parents = 0
    for span, line in zip(found, lines):
        attributes = {attribute.key: value(attribute.value) for attribute in span.attributes}
        wanted = {
            "picotap.conn": line["conn"],
            "picotap.seq": line["seq"],
            "client.address": line["client"],
            "client.port": line["client_port"],
            "network.local.address": line["server"],
            "http.response.status_code": line.get("status"),
            "http.request.body.size": line.get("request_body_bytes") if "protocol" not in line else None,
            "user_agent.original": line.get("user_agent"),
        }
        for key, text in wanted.items():
            if attributes.get(key) != text:
                sys.exit(f"{key} is {attributes.get(key)!r}, and not {text!r}: {line}")
        if len(attributes) != len(span.attributes):
            sys.exit(f"a key stands twice: {line}")
        if span.kind != Span.SPAN_KIND_SERVER or not span.name:
            sys.exit(f"no span of a server: {line}")
        if (len(span.trace_id), len(span.span_id)) != (16, 8) or span.span_id in seen:
            sys.exit(f"identifiers: {line}")
        seen.add(span.span_id)
        if span.parent_span_id.hex() != line.get("parent_id", "") or span.trace_id.hex() != line.get("trace_id", span.trace_id.hex()):
            sys.exit(f"another trace: {line}")
        parents += span.parent_span_id != b""
        if span.end_time_unix_nano < span.start_time_unix_nano:
            sys.exit(f"it ends before it starts: {line}")
        # Whole microseconds, as in the line.
        lasts = (span.end_time_unix_nano - span.start_time_unix_nano) // 1000
        if "duration_us" in line and lasts != line["duration_us"]:
            sys.exit(f"it lasts {lasts} us: {line}")
        failed = span.status.code == Status.STATUS_CODE_ERROR
        if failed != ("error.type" in attributes) or (line.get("status", 0) >= 500 and not failed):
            sys.exit(f"status {span.status}: {line}")
    print(f"good, {len(found)} spans, {parents} with a parent")


def section_of(page, title):
    """The text of a section, its subsections included."""
    with open(page) as file:
        text = file.read()
    heading = re.search(rf"^(#+) {re.escape(title)}\n", text, re.M)
    level = len(heading.group(1))
    return re.split(rf"^#{{1,{level}}} ", text[heading.end() :], maxsplit=1, flags=re.M)[0]


def schema(path, page, title):
    from jsonschema import Draft202012Validator

    with open(path) as file:
        given = json.load(file)
    Draft202012Validator.check_schema(given)
    validator = Draft202012Validator(given, format_checker=Draft202012Validator.FORMAT_CHECKER)
    seen, count = set(), 0
    for line in sys.stdin:
        value = json.loads(line)
        for fault in validator.iter_errors(value):
            sys.exit(f"{path}: {fault.json_path}: {fault.message}: {line}")
        seen |= value.keys()
        count += 1
    rows = [row.split("|")[1] for row in section_of(page, title).splitlines() if row.startswith("| `")]
    described = {key for row in rows for key in re.findall(r"`(\w+)`", row)}
    for one, other, text in [
        (given["properties"].keys(), described, "are in the schema and not on the page"),
        (described, given["properties"].keys(), "are on the page and not in the schema"),
        (given["properties"].keys(), seen | {"interface", "tls", "ech", "client_process", "server_process"}, "are in the schema, and no line has them"),
    ]:
        if one - other:
            sys.exit(f"{path}: {', '.join(sorted(one - other))} {text}")
    print(f"{path}: good, {count} lines")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["otlp", path]:
            otlp(path)
        case ["schema", path, page, title]:
            schema(path, page, title)
        case ["helm", chart, directory]:
            helm(chart, directory)
        case ["servicemonitor", path]:
            with open(path) as file:
                monitor(path, yaml.safe_load(file))
        case ["vector", path, table]:
            vector(path, table)
        case _:
            sys.exit(__doc__)
