#!/usr/bin/env python3
"""Runs picotap and its peers on generated captures and prints a table for each.

    benches/peers/run.py [--runs 5] [--slow-runs 1] [--captures DIR] [--only NAME,...] [--no-install]
                         [--scale A|B|A-tls|H2|CONNECTIONS,EACH,BODY ...]

A-tls is A carried over TLS 1.3, and comes with its key log. A program that cannot read a capture's protocol, or has no keys for
it, is left out of that table.

Each program reads each capture in turn, round after round, so that what disturbs the machine disturbs all of them; the
medians are printed, with ratios to tcpdump (which only copies) and to picotap. A program that took more than ten seconds is run
in as many rounds as --slow-runs says. Output goes to files. Wall time, processor time and peak memory are those that the kernel
counted for the program and its children (wait4).

Programs that are missing are installed with apt-get; Suricata comes from backports. A program that cannot be had is
named and left out. The result is also written to benches/peers/results/DATE.md, with --only to DATE-NAMES.md.
"""

import argparse
import datetime
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent

SURICATA = """%YAML 1.1
---
outputs:
  - eve-log: {enabled: yes, filetype: regular, filename: eve.json, types: [{http: {extended: yes}}]}
stats: {enabled: no}
logging: {default-log-level: error, outputs: [{console: {enabled: yes}}]}
app-layer: {protocols: {http: {enabled: yes, libhtp: {default-config: {personality: IDS, request-body-limit: 0, response-body-limit: 0}}}}}
stream: {memcap: 1gb, checksum-validation: no, reassembly: {memcap: 1gb, depth: 0}}
flow: {memcap: 1gb, hash-size: 65536, prealloc: 10000}
host-os-policy: {linux: [0.0.0.0/0]}
default-rule-path: /nonexistent
"""

# Lines that begin with '#' are comments; every other line is a transaction, or half of one.
TSHARK_FIELDS = "frame.time_epoch ip.src tcp.srcport ip.dst tcp.dstport http.request.method http.request.uri http.response.code".split()


HTTP2_FIELDS = "frame.time_epoch ip.src tcp.srcport ip.dst tcp.dstport http2.streamid http2.headers.method http2.headers.path http2.headers.status".split()
TSHARK = 'exec tshark -n -r "$0" -T fields "$@" > "$OUT/lines"'

# A program that takes longer than this is run less often.
SLOW = 10


def peers(binary, scale):
    """Name, package, and the command that reads `capture` (with its `keys`) and writes under `out`, of those that can read it."""
    http2, tls = scale.startswith("H2") or scale.endswith(",2"), scale.endswith("-tls")
    fields = [word for field in (HTTP2_FIELDS if http2 else TSHARK_FIELDS) for word in ("-e", field)]
    shown = ["-Y", "http2.headers" if http2 else "http"]

    def picotap(capture, keys, out):
        return [binary, "-q", "-r", capture, *(["--keylog", keys] if keys else []), "--format", "json", "-o", f"{out}/lines"]

    def tshark(capture, keys, out):
        # The server's port is that of plain HTTP.
        secrets = ["-d", "tcp.port==80,tls", "-o", f"tls.keylog_file:{keys}"] if keys else []
        return ["sh", "-c", TSHARK, capture, *secrets, *shown, *fields]

    def suricata(capture, keys, out):
        return ["suricata", "-c", f"{out}/suricata.yaml", "-S", "/dev/null", "-l", out, "-k", "none", "-r", capture]

    all_of_them = [
        ("picotap", None, picotap),
        ("tcpdump -w /dev/null", "tcpdump", lambda capture, keys, out: ["tcpdump", "-r", capture, "-w", "/dev/null"]),
        ("httpry", "httpry", lambda capture, keys, out: ["httpry", "-q", "-r", capture, "-o", f"{out}/lines"]),
        ("Suricata, HTTP log alone", "suricata", suricata),
        ("tcpflow", "tcpflow", lambda capture, keys, out: ["tcpflow", "-q", "-r", capture, "-o", f"{out}/flows"]),
        ("tshark", "tshark", tshark),
    ]
    # The others take no keys, and print nothing of HTTP/2 without an upgrade.
    return [peer for peer in all_of_them if not (tls or http2) or peer[1] in (None, "tcpdump", "tshark")]


def install(package, tool):
    if shutil.which(tool) or shutil.which(tool, path="/usr/sbin:/sbin"):
        return True
    print(f"installing {package}", file=sys.stderr)
    return subprocess.run([ROOT / "deploy/soak/install.sh", package]).returncode == 0


def version(name, tool):
    words = {"suricata": ["-V"], "httpry": ["-h"]}.get(tool, ["--version"])
    done = subprocess.run([tool, *words], capture_output=True, text=True)
    text = done.stdout + done.stderr
    line = next((line for line in text.splitlines() if any(c.isdigit() for c in line) and "super" not in line.lower()), "?")
    return line.strip()[:60]


def measure(command, out):
    """Wall seconds, processor seconds, peak MiB, exit code."""
    start = time.monotonic()
    with open(os.devnull, "w") as null:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=null, stderr=open(f"{out}/stderr", "w"), env={**os.environ, "OUT": out})
        _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    return time.monotonic() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, child.returncode


def lines(out):
    """Transactions, or messages, that a program printed."""
    for name in ("lines", "eve.json"):
        path = Path(out, name)
        if path.exists():
            with open(path, "rb") as file:
                return sum(1 for line in file if not line.startswith(b"#"))
    return None


def clean(out):
    shutil.rmtree(out, ignore_errors=True)
    os.makedirs(out)
    Path(out, "suricata.yaml").write_text(SURICATA)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--slow-runs", type=int, default=1)
    parser.add_argument("--captures", default=str(ROOT / "target" / "peers"))
    parser.add_argument("--scale", nargs="*", default=["A", "B", "A-tls", "H2"])
    parser.add_argument("--only", default="")
    parser.add_argument("--binary", default=str(ROOT / "target" / "release" / "picotap"))
    parser.add_argument("--no-install", action="store_true")
    args = parser.parse_args()
    place = Path(args.captures)
    place.mkdir(parents=True, exist_ok=True)

    subprocess.run(["cargo", "build", "--locked", "--release", "--bin", "picotap", "--example", "generate"], cwd=ROOT, check=True)
    versions = {}
    for name, package, _ in peers(args.binary, "A"):
        tool = args.binary if package is None else package
        if args.only and not any(word in name for word in args.only.split(",")):
            continue
        if package and not (shutil.which(tool) if args.no_install else install(package, tool)):
            print(f"{name}: not available here, skipped", file=sys.stderr)
            continue
        versions[name] = version(name, tool)

    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), platform.machine())
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    report = [
        f"# Peers, {datetime.date.today()}",
        "",
        f"`{' '.join(['benches/peers/run.py', *sys.argv[1:]])}` at {commit}, on {os.cpu_count()} cores of {model}, Linux {platform.release()}.",
        f"Medians of {args.runs} rounds, of programs that took more than {SLOW} s of {args.slow_runs}. Ratios above 1 mean that picotap took less.",
    ]
    for scale in args.scale:
        capture = str(place / f"{scale.replace(',', '-')}.pcap")
        tls = scale.removesuffix("-tls") != scale
        keys = capture.removesuffix(".pcap") + ".keys" if tls else None
        if not os.path.exists(capture):
            what = [scale.removesuffix("-tls"), capture, *([keys] if tls else [])]
            subprocess.run([str(ROOT / "target/release/examples/generate"), *what], check=True)
        chosen = [(name, versions[name], command) for name, _, command in peers(args.binary, scale) if name in versions]
        size = os.path.getsize(capture)
        with open(capture, "rb") as file:  # into the page cache, for every program
            while file.read(1 << 24):
                pass
        out = str(place / "out")
        results = {name: [] for name, _, _ in chosen}
        printed = {}
        for run in range(args.runs):
            for name, _, command in chosen:
                slow = any(wall > SLOW for wall, *_ in results[name])
                if slow and run >= args.slow_runs:
                    continue
                clean(out)
                result = measure(command(capture, keys, out), out)
                if result[3] != 0:
                    print(f"{name}: exit code {result[3]}: {Path(out, 'stderr').read_text()[-300:]}", file=sys.stderr)
                    continue
                results[name].append(result)
                printed[name] = lines(out)
                print(f"{scale} round {run + 1}: {name}: {result[0]:.2f} s", file=sys.stderr)
        clean(out)
        median = {name: [statistics.median(values) for values in zip(*runs)] for name, runs in results.items() if runs}
        # What this program takes itself is counted to its children too.
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 + 0.5
        ours, copy = median.get("picotap"), median.get("tcpdump -w /dev/null")
        report += [
            "",
            f"## {scale}: {size / 1e6:.0f} MB",
            "",
            "| program | version | lines | wall s | CPU s | peak MiB | wall / picotap | CPU / picotap | wall / tcpdump |",
            "|---|---|---|---|---|---|---|---|---|",
        ]
        for name, what, _ in chosen:
            if name not in median:
                continue
            wall, cpu, peak, _ = median[name]
            peak = f"{peak:.0f}" if peak > own else f"at most {own:.0f}"
            ratio = lambda a, b: f"{a / b:.2f}" if b else "-"
            report.append(
                f"| {name} | {what} | {printed[name] if printed[name] is not None else '-'} | {wall:.2f} | {cpu:.2f} | {peak} "
                f"| {ratio(wall, ours and ours[0])} | {ratio(cpu, ours and ours[1])} | {ratio(wall, copy and copy[0])} |"
            )
    text = "\n".join(report) + "\n"
    print(text)
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    # A run of some programs does not replace the results of all.
    some = "-" + args.only.replace(",", "-") if args.only else ""
    (results / f"{datetime.date.today()}{some}.md").write_text(text)


if __name__ == "__main__":
    main()
