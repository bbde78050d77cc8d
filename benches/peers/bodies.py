#!/usr/bin/env python3
"""Large bodies at the highest rate that nginx gives on a veth pair: how much of its access log picotap has, with the right status.

    benches/peers/bodies.py [--rounds 3] [--seconds 5] [--body 20000] [--connections 64] [--plain] [--json FILE] PICOTAP[,OPTION...] ...

Needs root, nginx, wrk and iproute2. Each round runs each PICOTAP (a release build, with options behind commas) in turn, at its
defaults but for the output, which is a file of JSON lines. Each request has a number of its own, and each sixteenth is answered
with 404, so that a wrong pair is seen. With --plain all requests are the same, which wrk sends at a higher rate; then lines are
only counted, by status. Load, server and picotap share the cores: nothing is pinned.
"""

import argparse
import collections
import json
import os
import pathlib
import re
import signal
import statistics
import subprocess
import tempfile
import time

from threads import processor_seconds

CONFIGURATION = """
daemon off; worker_processes 1; pid PLACE/nginx.pid; error_log PLACE/error.log crit; user root;
events { worker_connections 1024; }
http {
    log_format bare '$arg_n $status'; access_log PLACE/access.log bare buffer=256k flush=1s;
    client_body_temp_path PLACE/tmp; proxy_temp_path PLACE/tmp; fastcgi_temp_path PLACE/tmp; uwsgi_temp_path PLACE/tmp;
    scgi_temp_path PLACE/tmp; keepalive_requests 100000000; sendfile SENDFILE; tcp_nopush NOPUSH;
    open_file_cache max=16 inactive=600s; open_file_cache_valid 600s;
    server { listen 80; root PLACE/site; location = /gone { return 404; } }
}
"""
SCRIPT = """
local n = 0
request = function()
  n = n + 1
  return wrk.format(nil, (n % 16 == 0 and "/gone?n=" or "/body.bin?n=") .. n)
end
"""
CLIENT, SERVER = f"pt-c-{os.getpid()}", f"pt-s-{os.getpid()}"


def run(*command):
    subprocess.run(command, check=True)


def inside(namespace, *command, **options):
    return subprocess.Popen(["ip", "netns", "exec", namespace, *map(str, command)], text=True, **options)


def set_up():
    for namespace in (CLIENT, SERVER):
        run("ip", "netns", "add", namespace)
    run("ip", "link", "add", "wire0", "netns", CLIENT, "type", "veth", "peer", "name", "wire1", "netns", SERVER)
    for namespace, link, host in ((CLIENT, "wire0", 1), (SERVER, "wire1", 2)):
        for link_up in ("lo", link):
            run("ip", "-n", namespace, "link", "set", link_up, "up")
        run("ip", "-n", namespace, "addr", "add", f"10.98.0.{host}/24", "dev", link)


def spent(before, after):
    return {name: round(value - before.get(name, 0), 2) for name, value in sorted(after.items()) if value - before.get(name, 0) >= 0.01}


def answers(log):
    """Status by number of the request."""
    return dict(line.split() for line in log.read_text().splitlines())


def count(log, lines):
    """As many lines as requests in the access log, by status; what is beyond that is wrong."""
    logged = collections.Counter(line.split()[1] for line in log.read_text().splitlines())
    status = re.compile(r'"status":(\d+)')
    with open(lines) as file:
        found = collections.Counter(code[1] for line in file if (code := status.search(line)))
    right = (logged & found).total()
    return {"logged": logged.total(), "right": right, "wrong": found.total() - right}


def compare(logged, lines):
    """Of the requests in the access log: lines with the right status, with another, twice."""
    right, wrong, twice, flagged, seen = 0, 0, 0, 0, set()
    pattern = re.compile(r'\?n=(\d+)"')
    status = re.compile(r'"status":(\d+)')
    with open(lines) as file:
        for line in file:
            number, code = pattern.search(line), status.search(line)
            if not number:
                continue
            number = number[1]
            twice += number in seen
            seen.add(number)
            if code and logged.get(number) == code[1]:
                right += 1
            elif code:
                wrong += 1
            flagged += '"flags":' in line
    return {"logged": len(logged), "right": right, "wrong": wrong, "twice": twice, "flagged": flagged}


def counters(file):
    found = {}
    for line in file.read_text().splitlines():
        if not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            found[name] = float(value)
    return found


def measure(place, nginx, command, options):
    access = place / "access.log"
    program, *rest = command.split(",")
    metrics, lines = place / "metrics", place / "lines"
    for file in (metrics, lines):
        file.unlink(missing_ok=True)
    picotap = None
    if program != "none":
        picotap = inside(SERVER, program, "-q", "-i", "wire1", "--no-metrics", "--metrics-file", metrics, "--format", "json", "-o", lines, *rest,
                         stderr=subprocess.PIPE)
        time.sleep(1)
    # The old rows are written by now.
    os.truncate(access, 0)
    before = processor_seconds(picotap.pid) if picotap else {}
    server = pathlib.Path(f"/proc/{nginx}/task/{nginx}/children").read_text().split()[0]
    nginx_before = sum(processor_seconds(server).values())
    what = ["http://10.98.0.2/body.bin"] if options.plain else ["-s", place / "script.lua", "http://10.98.0.2/"]
    load = inside(CLIENT, "wrk", "-t1", f"-c{options.connections}", f"-d{options.seconds}s", *what, stdout=subprocess.PIPE)
    said, _ = load.communicate()
    result = {"picotap": command, "requests": int(re.search(r"(\d+) requests in", said)[1])}
    result["nginx_s"] = round(sum(processor_seconds(server).values()) - nginx_before, 2)
    time.sleep(1.5)
    if picotap:
        after = processor_seconds(picotap.pid)
        memory = re.search(r"VmHWM:\s+(\d+)", pathlib.Path(f"/proc/{picotap.pid}/status").read_text())
        picotap.send_signal(signal.SIGINT)
        _, said = picotap.communicate()
        found = counters(metrics)
        total = lambda start: int(sum(value for name, value in found.items() if name.startswith(start)))
        result |= count(access, lines) if options.plain else compare(answers(access), lines)
        result["share"] = round(result["right"] / max(result["logged"], 1), 5)
        result["threads_s"] = spent(before, after)
        result["us_each"] = round(sum(result["threads_s"].values()) * 1e6 / max(result["logged"], 1), 2)
        result["peak_mb"] = int(memory[1]) // 1024
        result["kernel_dropped"] = total("picotap_capture_dropped_packets_total")
        result["kernel_received"] = total("picotap_capture_received_packets_total")
        result["slots"] = total("picotap_slots_total")
        result["slots_dropped"] = total("picotap_dropped_slots_total")
        result["waits"] = total("picotap_capture_waits_total")
        for account in re.findall(r'picotap_payload_bytes_total\{account="(\w+)"\}', "\n".join(found)):
            if (value := total(f'picotap_payload_bytes_total{{account="{account}"')) > 0:
                result.setdefault("payload_mb", {})[account] = round(value / 1e6, 1)
        result["gap_mb"] = round(total("picotap_gap_bytes_total") / 1e6, 1)
        if picotap.returncode:
            result["said"] = said
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--body", type=int, default=20000)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--sendfile", default="off", choices=["on", "off"])
    parser.add_argument("--nopush", default="off", choices=["on", "off"])
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--json")
    parser.add_argument("picotap", nargs="+")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        place = pathlib.Path(directory)
        # picotap drops its privileges before it opens its outputs.
        os.chmod(directory, 0o777)
        (place / "tmp").mkdir()
        (place / "site").mkdir()
        (place / "site/body.bin").write_bytes(bytes(range(32, 127)) * (options.body // 95) + b"x" * (options.body % 95))
        (place / "script.lua").write_text(SCRIPT)
        text = CONFIGURATION.replace("PLACE", directory).replace("SENDFILE", options.sendfile).replace("NOPUSH", options.nopush)
        (place / "nginx.conf").write_text(text)
        set_up()
        nginx = inside(SERVER, "nginx", "-c", place / "nginx.conf")
        try:
            time.sleep(1)
            results = []
            for number in range(options.rounds):
                order = options.picotap if number % 2 == 0 else options.picotap[::-1]
                for command in order:
                    results.append(measure(place, nginx.pid, command, options))
                    print(json.dumps(results[-1]), flush=True)
            for command in options.picotap:
                mine = [one for one in results if one["picotap"] == command]
                rates = [one["requests"] / options.seconds for one in mine]
                shares = [one["share"] for one in mine if "share" in one]
                said = f"right: median {statistics.median(shares):.4f} ({min(shares):.4f}-{max(shares):.4f}), " if shares else ""
                print(f"{command}: {said}{statistics.median(rates):,.0f} requests/s ({min(rates):,.0f}-{max(rates):,.0f})")
            if options.json:
                pathlib.Path(options.json).write_text(json.dumps({"options": vars(options), "results": results}, indent=1) + "\n")
        finally:
            nginx.terminate()
            nginx.wait()
            for namespace in (CLIENT, SERVER):
                subprocess.run(["ip", "netns", "delete", namespace])


if __name__ == "__main__":
    main()
