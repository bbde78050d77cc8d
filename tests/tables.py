"""Reads tables with DuckDB and pandas, and compares every cell with the JSON lines of the same captures.

usage: tables.py LINES.json TABLE.csv TABLE.tsv
"""

import json
import re
import sys

import duckdb
import pandas

lines_file, csv_file, tsv_file = sys.argv[1:]


def undo(text):
    """The bytes of a text that picotap has escaped."""
    raw = text.encode("utf-8", "surrogatepass")
    return re.sub(rb"\\x([0-9a-f]{2})", lambda found: bytes([int(found[1], 16)]), raw)


def cell(line, column):
    """What a table should have of a line, as bytes."""
    if column == "flags":
        return " ".join(line.get("flags", [])).encode()
    if column == "method" and "protocol" in line:
        return undo(line["operation"])
    if column == "reason" and "protocol" in line:
        return undo(line.get("outcome", line.get("error", "")))
    value = line
    for part in column.split("."):
        value = value.get(part, {}) if isinstance(value, dict) else {}
    if isinstance(value, list):
        return b", ".join(map(undo, value))
    if isinstance(value, bool):
        return str(value).lower().encode()
    return b"" if value == {} else undo(str(value))


lines = [json.loads(line) for line in open(lines_file, encoding="utf-8")]


def check(name, columns, rows):
    assert len(rows) == len(lines), f"{name}: {len(rows)} rows of {len(lines)} lines"
    for place, (line, row) in enumerate(zip(lines, rows)):
        for column, value in zip(columns, row):
            wanted, found = cell(line, column), undo("" if value is None else str(value))
            assert found == wanted, f"{name}: row {place}, {column}: {found!r} is not {wanted!r}"
    print(name, len(columns), "columns,", len(rows), "rows")


for path, separator in [(csv_file, ","), (tsv_file, "\t")]:
    # As people do it: types and dialect are found out.
    table = duckdb.sql(f"SELECT count(*), avg(status), max(duration_us), min(ts) FROM read_csv('{path}', delim = '{separator}')")
    [(count, average, longest, first)] = table.fetchall()
    statuses = [line["status"] for line in lines if "status" in line]
    assert count == len(lines) and abs(average - sum(statuses) / len(statuses)) < 1e-6, (count, average)
    assert longest == max(line.get("duration_us", 0) for line in lines)
    assert first.strftime("%Y-%m-%dT%H:%M:%S.%f") + "Z" == min(line["ts"] for line in lines), first
    found = duckdb.sql(f"SELECT * FROM read_csv('{path}', delim = '{separator}', all_varchar = true)")
    check(f"duckdb {path}", found.columns, found.fetchall())
    frame = pandas.read_csv(path, sep=separator)
    assert frame["status"].sum() == sum(statuses), "pandas: statuses"
    frame = pandas.read_csv(path, sep=separator, dtype=str, keep_default_na=False)
    check(f"pandas {path}", list(frame.columns), frame.values.tolist())
