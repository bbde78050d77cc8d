#!/usr/bin/env python3
"""Reads an archive of captures with picotap on Spark, and writes one Parquet table. README.md beside it says how to run it.

    spark-submit --files picotap picotap_spark.py --captures 's3a://archive/*/*.pcap.gz' --out s3a://lake/http --shards 4

Captures of one sensor (a series) are read in the order of their names by one picotap, since connections span files; with --shards N by
N of them, each of which takes its part of the connections. So the table has exactly the lines of one run over each series.
"""

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time

# The schema of the lines, which this picotap's release publishes: the table's columns follow from it.
SCHEMA = "picotap.schema.json"
# The table of faults: a capture that could not be read to its end, and why.
FAULTS = "sensor STRING, series STRING, capture STRING, fault STRING"
CHUNK = 1 << 20
MOST_SHARDS = 4096
# The most that is kept of what picotap says.
MOST_MESSAGES = 1 << 20


class Failure(Exception):
    """What the user is told. Spark passes it on within its own traceback."""


def arguments():
    parser = argparse.ArgumentParser(description="captures to a Parquet table, by picotap on Spark")
    parser.add_argument("--captures", action="append", required=True, metavar="PATTERN",
                        help="captures: a path or pattern of any file system that Spark reads; repeatable")
    parser.add_argument("--out", required=True, help="directory of the tables `transactions` and `faults`")
    parser.add_argument("--series", default=r"(?P<sensor>[^/]+)/[^/]+$", metavar="REGEX",
                        help="searched in each path: the group `sensor` is the sensor, all groups together are the series"
                             " (default: the name of the directory is both)")
    parser.add_argument("--shards", type=int, default=1, help="tasks for each series (default: 1)")
    parser.add_argument("--picotap", default="picotap", help="the program: a path on each node, or the name of a file sent with --files")
    parser.add_argument("--schema", metavar="FILE",
                        help=f"the JSON Schema of the lines (default: {SCHEMA} beside this program's directory, or as sent with --files)")
    parser.add_argument("--option", action="append", default=[], help="a further option for picotap, such as --option=--header=x-request-id")
    parser.add_argument("--stream", action="store_true", help="read captures in file: by Spark's connectors too, not by their paths")
    parser.add_argument("--overwrite", action="store_true", help="replace the tables if they exist")
    args = parser.parse_args()
    try:
        args.series = re.compile(args.series)
    except re.error as error:
        parser.error(f"--series {args.series}: {error}")
    if not 1 <= args.shards <= MOST_SHARDS:
        parser.error(f"--shards {args.shards}: from 1 to {MOST_SHARDS}")
    if "sensor" not in args.series.groupindex:
        parser.error("--series: has no group named sensor, such as (?P<sensor>[^/]+)")
    return args


def read_schema(given):
    here = os.path.dirname(os.path.abspath(sys.argv[0]))
    places = [given] if given else [os.path.join(here, "..", "schema", SCHEMA), os.path.join(here, SCHEMA), SCHEMA]
    for place in places:
        if os.path.isfile(place):
            with open(place) as file:
                return json.load(file)["properties"]
    sys.exit(f"picotap_spark.py: the schema is not at {' or '.join(places)}: name it with --schema, or send it with --files")


def column(name, of):
    """The type of a key: of names and widths only what the schema says."""
    if of.get("format") == "date-time":
        return "TIMESTAMP"
    # A list of values, or a single one, says the type by itself.
    kind = of.get("type") or {bool: "boolean", str: "string"}.get(type(of.get("const", of.get("enum", [None])[0])))
    match kind:
        case "string" | "boolean":
            return kind.upper()
        case "integer":
            return "INT" if of.get("maximum", 1 << 63) < 1 << 31 else "BIGINT"
        case "array":
            return f"ARRAY<{column(name, of['items'])}>"
        case "object" if "properties" in of:
            return f"STRUCT<{', '.join(f'{key}: {column(key, inner)}' for key, inner in of['properties'].items())}>"
        case "object":
            return f"MAP<STRING, {column(name, of['additionalProperties'])}>"
    sys.exit(f"picotap_spark.py: {SCHEMA}: {name}: no type that a column could have")


def series_of(spark, args):
    """Captures by series: {(sensor, series): [(path, bytes)]}, in the order of their names."""
    jvm, conf = spark._jvm, spark._jsc.hadoopConfiguration()
    found = {}
    for pattern in args.captures:
        path = jvm.org.apache.hadoop.fs.Path(pattern)
        statuses = path.getFileSystem(conf).globStatus(path)
        files = [s for s in (statuses or []) if s.isFile()]
        if not files:
            sys.exit(f"--captures {pattern}: no files (of a directory, the pattern of its files is needed, such as {pattern.rstrip('/')}/*.pcap)"
                     if statuses else f"--captures {pattern}: no files")
        for status in files:
            name = status.getPath().toString()
            match = args.series.search(name)
            if match is None or not match["sensor"]:
                sys.exit(f"--series {args.series.pattern}: names no sensor for {name}")
            key = (match["sensor"], "/".join(text or "" for text in match.groups()))
            found.setdefault(key, {})[name] = status.getLen()
    return {key: sorted(files.items()) for key, files in sorted(found.items())}


def configuration(spark):
    """Hadoop's configuration as XML: file systems and what they need to log in."""
    text = spark._jvm.java.io.StringWriter()
    spark._jsc.hadoopConfiguration().writeXml(text)
    return text.toString()


def program(name):
    from pyspark import SparkFiles

    sent = SparkFiles.get(name)
    return sent if os.path.sep not in name and os.path.isfile(sent) else name


class Feeder(threading.Thread):
    """Reads captures one after another by Hadoop's file systems, and writes each into its pipe."""

    def __init__(self, captures, pipes, directory, hadoop, reader):
        super().__init__(daemon=True)
        self.captures, self.pipes, self.reader, self.error = captures, pipes, reader, None
        os.mkdir(conf := os.path.join(directory, "conf"), 0o700)
        with open(os.path.join(conf, "core-site.xml"), "w") as file:
            file.write(hadoop)
        from pyspark.find_spark_home import _find_spark_home

        home = os.environ.get("SPARK_HOME") or _find_spark_home()
        command = [os.path.join(home, "bin", "spark-class"), "org.apache.hadoop.fs.FsShell", "-cat"]
        # FsShell takes patterns: what is none is escaped.
        names = [re.sub(r"([\\*?\[\]{},])", r"\\\1", name) for name, _ in captures]
        self.log = open(os.path.join(directory, "fs.log"), "w+b")
        self.process = subprocess.Popen(command + names, stdout=subprocess.PIPE, stderr=self.log, stdin=subprocess.DEVNULL,
                                        env={**os.environ, "HADOOP_CONF_DIR": conf})

    def run(self):
        try:
            for (name, size), pipe in zip(self.captures, self.pipes):
                self.feed(name, size, pipe)
            if self.process.stdout.read(1) or self.process.wait() != 0:
                raise Failure("the captures are not what was listed: " + self.said())
        except Exception as error:
            self.error = error
            self.reader.kill()

    def said(self):
        self.log.seek(0)
        return self.log.read(CHUNK).decode(errors="replace")[-2000:]

    def feed(self, name, size, pipe):
        descriptor = None
        # Opening waits until picotap has come to this capture, but not if it has ended.
        while descriptor is None:
            try:
                descriptor = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
            except OSError:
                if self.reader.poll() is not None:
                    raise Failure(f"{name}: picotap has ended before it was read") from None
                time.sleep(0.005)
        os.set_blocking(descriptor, True)
        wanted = True
        with os.fdopen(descriptor, "wb", buffering=0) as out:
            while size > 0:
                chunk = self.process.stdout.read(min(size, CHUNK))
                if not chunk:
                    raise Failure(f"{name}: {size} bytes are missing: {self.said()}")
                size -= len(chunk)
                while wanted and chunk:
                    try:
                        chunk = chunk[out.write(chunk):]
                    except BrokenPipeError:
                        # picotap reads no further in a damaged capture.
                        wanted = False


def task(work, args, hadoop):
    """Runs picotap over one shard of a series. Gives (line, None), and of the first shard (None, fault)."""
    (sensor, series), captures, shard = work
    directory = tempfile.mkdtemp(prefix="picotap-")
    process = feeder = None
    try:
        stream = args.stream or not all(name.startswith("file:") for name, _ in captures)
        paths = [os.path.join(directory, f"{n:08}") if stream else re.sub("^file:/*", "/", name) for n, (name, _) in enumerate(captures)]
        for path in paths:
            if stream:
                os.mkfifo(path, 0o600)
            elif not os.path.exists(path):
                raise Failure(f"{path}: is not on {platform.node()} (--stream reads it there through Spark, if it is on a shared file system)")
        # Options in a file: a series may have more captures than fit a command line.
        config = os.path.join(directory, "picotap.toml")
        with open(config, "w") as file:
            file.write(f"pcap = {json.dumps(paths)}\n")
        command = [program(args.picotap), "--config", config, "--format", "json", "--quiet", "--sensor", sensor]
        command += ["--shard", f"{shard}/{args.shards}", *args.option]
        with open(os.path.join(directory, "messages"), "w+b") as messages:
            try:
                process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=messages, stdin=subprocess.DEVNULL)
            except OSError as error:
                raise Failure(f"{command[0]}: cannot be started on {platform.node()}: {error.strerror}: send the program with --files"
                              " target/static/picotap, or name it with --picotap as it is on each node") from None
            if stream:
                feeder = Feeder(captures, paths, directory, hadoop, process)
                feeder.start()
            for line in process.stdout:
                yield line.decode(), None
            code = process.wait()
            if feeder:
                feeder.join()
                if feeder.error:
                    raise feeder.error
            messages.seek(0)
            said = messages.read(MOST_MESSAGES).decode(errors="replace")
        faults, others = [], []
        names = {path: name for path, (name, _) in zip(paths, captures)}
        for message in said.splitlines():
            path, _, text = message.removeprefix("picotap: ").partition(": ")
            if path in names:
                faults.append((sensor, series, names[path], text))
            else:
                others.append(message)
        # 1: something was damaged. What was not a capture is a failure, and is tried again.
        if code not in (0, 1) or (code == 1 and (others or not faults)):
            raise Failure(f"picotap: exit code {code}: {said[-2000:]}")
        if shard == 1:
            yield from ((None, fault) for fault in faults)
    finally:
        for running in (process, feeder and feeder.process):
            if running and running.poll() is None:
                running.kill()
                running.wait()
        shutil.rmtree(directory, ignore_errors=True)


def main():
    args = arguments()
    properties = read_schema(args.schema)
    columns = ", ".join(f"{name} {column(name, of)}" for name, of in properties.items())
    from pyspark import StorageLevel
    from pyspark.sql import SparkSession
    from pyspark.sql import functions as f

    spark = SparkSession.builder.appName("picotap").config("spark.sql.session.timeZone", "UTC").getOrCreate()
    tables = [spark._jvm.org.apache.hadoop.fs.Path(f"{args.out}/{name}") for name in ("transactions", "faults")]
    files = tables[0].getFileSystem(spark._jsc.hadoopConfiguration())
    for table in tables:
        if not args.overwrite and files.exists(table):
            sys.exit(f"--out {args.out}: {table} exists: name another directory, or replace the tables with --overwrite")
    series = series_of(spark, args)
    hadoop = configuration(spark)
    # The longest series first. Plain values only: what is sent to the nodes must be picklable.
    order = sorted(series.items(), key=lambda item: -sum(size for _, size in item[1]))
    work = [(key, files, shard) for key, files in order for shard in range(1, args.shards + 1)]
    given = argparse.Namespace(picotap=args.picotap, shards=args.shards, option=args.option, stream=args.stream)
    rows = spark.sparkContext.parallelize(work, len(work)).flatMap(lambda one: task(one, given, hadoop))
    # Both tables come from one run of each task. What a lost node held is computed again, and gives the same.
    all_rows = spark.createDataFrame(rows, f"line STRING, fault STRUCT<{FAULTS}>").persist(StorageLevel.DISK_ONLY)
    mode = "overwrite" if args.overwrite else "error"
    options = {"mode": "FAILFAST", "timestampFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSSX"}
    known = f.array(*(f.lit(name) for name in properties))
    others = f.array_except(f.json_object_keys("line"), known)
    # A key without a column: the schema is of another release. Better no table than one that lacks it.
    message = f.concat(f.lit(f"{SCHEMA} is of another release than picotap: it lacks "), f.array_join(others, ", "))
    lines = all_rows.where("line IS NOT NULL").where(f.assert_true(f.size(others) == 0, message).isNull())
    lines = lines.select(f.from_json("line", columns, options).alias("t")).select("t.*")
    # Spark's committer takes the files of one attempt of each task.
    lines = lines.withColumn("day", f.to_date("ts"))
    faults = all_rows.where("fault IS NOT NULL").select("fault.*").coalesce(1)
    try:
        lines.write.mode(mode).partitionBy("day", "sensor").parquet(tables[0].toString())
        faults.write.mode(mode).parquet(tables[1].toString())
    except Exception as error:
        # Half a result is none, and must not be in the way of the next try.
        for table in tables:
            files.delete(table, True)
        told = re.search(r"Failure: (.+)|\[USER_RAISED_EXCEPTION\] (.+?)(?: SQLSTATE|$)", str(error), re.M)
        if told is None:
            raise
        sys.exit(f"picotap_spark.py: {told[1] or told[2]}")
    spark.stop()


if __name__ == "__main__":
    main()
