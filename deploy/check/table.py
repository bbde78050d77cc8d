#!/usr/bin/env python3
"""Reads what deploy/spark writes with DuckDB, which shares no code with Spark.

    table.py lines OUT           the rows of the table as JSON lines, as picotap writes them
    table.py columns OUT         its columns and their types, as one JSON object
    table.py faults OUT          captures and faults, as JSON lines
    table.py queries OUT README  the answers to the README's SQL queries, as JSON lines, one per query
"""

import json
import re
import sys

import duckdb


def value(given):
    if hasattr(given, "strftime"):
        return given.strftime("%Y-%m-%dT%H:%M:%S.%fZ" if hasattr(given, "hour") else "%Y-%m-%d")
    if isinstance(given, dict):
        return {key: value(item) for key, item in given.items() if item is not None}
    return given


def rows(database, query):
    found = database.execute(query)
    names = [column[0] for column in found.description]
    for row in found.fetchall():
        yield {name: value(item) for name, item in zip(names, row) if item is not None}


what, out = sys.argv[1:3]
database = duckdb.connect()
database.execute("SET TimeZone = 'UTC'")
table = f"read_parquet('{out}/transactions/*/*/*.parquet', hive_partitioning = true)"
match what:
    case "lines":
        for row in rows(database, f"SELECT * EXCLUDE (ts, day), ts::TIMESTAMP AS ts, sensor FROM {table}"):
            print(json.dumps(row))
    case "columns":
        print(json.dumps(dict(row[:2] for row in database.execute(f"DESCRIBE SELECT * FROM {table}").fetchall())))
    case "faults":
        for row in rows(database, f"SELECT * FROM read_parquet('{out}/faults/*.parquet')"):
            print(json.dumps(row))
    case "queries":
        with open(sys.argv[3]) as file:
            blocks = re.findall(r"^    (?:CREATE VIEW|SELECT).*?;$", file.read(), re.S | re.M)
        view, *queries = blocks
        database.execute(re.sub(r"read_parquet\(.*\)", table, view))
        for query in queries:
            print(json.dumps(list(rows(database, query))))
    case _:
        sys.exit(__doc__)
