#!/usr/bin/env python3
"""Finds the highest rate that `tcpdump -w /dev/null` takes on a veth pair without a drop, and runs picotap at 80 % of it.

    benches/peers/live.py CAPTURE [--seconds 5] [--buffer KIB] [--picotap PATH]

Needs root, tcpdump, tcpreplay and iproute2. The packets are those of CAPTURE (of examples/generate.rs), sent over and over
from one network namespace into another; nothing leaves the machine. Sender and receiver share its cores.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from threads import processor_seconds

ROOT = Path(__file__).resolve().parent.parent.parent
SENDER, RECEIVER = f"pt-send-{os.getpid()}", f"pt-recv-{os.getpid()}"


def run(*command):
    subprocess.run(command, check=True)


def inside(namespace, *command, **options):
    return subprocess.Popen(["ip", "netns", "exec", namespace, *command], text=True, **options)


def set_up():
    for namespace in (SENDER, RECEIVER):
        run("ip", "netns", "add", namespace)
    run("ip", "link", "add", "pt0", "netns", SENDER, "type", "veth", "peer", "name", "pt1", "netns", RECEIVER)
    for namespace, link in ((SENDER, "pt0"), (RECEIVER, "pt1")):
        # No addresses, so that the kernel answers nothing.
        run("ip", "netns", "exec", namespace, "sysctl", "-q", "-w", f"net.ipv6.conf.{link}.disable_ipv6=1")
        run("ip", "-n", namespace, "link", "set", link, "up")


def tear_down():
    for namespace in (SENDER, RECEIVER):
        subprocess.run(["ip", "netns", "delete", namespace])


def send(capture, rate, seconds):
    """Packets, and the rate actually reached."""
    command = ["tcpreplay", "-i", "pt0", "--preload-pcap", "--loop=0", f"--duration={seconds}", f"--pps={rate}", "--pps-multi=64", capture]
    done = inside(SENDER, *command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    text, _ = done.communicate()
    sent = re.search(r"Actual: (\d+) packets .* in ([\d.]+) seconds", text)
    if not sent:
        sys.exit(f"tcpreplay: {text}")
    return int(sent[1]), int(sent[1]) / float(sent[2])


def tcpdump(capture, rate, seconds, buffer):
    """Rate reached, packets dropped by the kernel."""
    reader = inside(RECEIVER, "tcpdump", "-n", "-i", "pt1", "-B", str(buffer), "-w", "/dev/null", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    time.sleep(1)
    _, reached = send(capture, rate, seconds)
    time.sleep(1)
    reader.send_signal(signal.SIGINT)
    _, text = reader.communicate()
    return reached, int(re.search(r"(\d+) packets dropped by kernel", text)[1])


def capture_seconds(pid):
    """Processor time of the capture threads: `ip netns exec` execs the program, so its pid is picotap's."""
    return processor_seconds(pid).get("capture", 0)


def picotap(binary, capture, rate, seconds, buffer):
    """Rate reached, and counters of the run."""
    # picotap drops its privileges before it opens these.
    place = tempfile.TemporaryDirectory()
    os.chmod(place.name, 0o777)
    metrics, lines = f"{place.name}/metrics", f"{place.name}/lines"
    options = ["-q", "-i", "pt1", "-B", str(buffer), "--no-metrics", "--metrics-file", metrics, "-o", lines]
    reader = inside(RECEIVER, binary, *options)
    time.sleep(2)
    before = capture_seconds(reader.pid)
    sent, reached = send(capture, rate, seconds)
    time.sleep(1)
    spent = capture_seconds(reader.pid) - before
    reader.send_signal(signal.SIGINT)
    reader.wait()
    counters = {}
    with open(metrics) as file:
        for line in file:
            if not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                counters[name] = float(value)
    place.cleanup()
    total = lambda start: int(sum(value for name, value in counters.items() if name.startswith(start)))
    return {
        "sent": sent,
        "rate": round(reached),
        "packets": total("picotap_packets_total"),
        "dropped_packets": total("picotap_capture_dropped_packets_total"),
        "dropped_slots": total("picotap_dropped_slots_total"),
        "lines": total("picotap_log_lines_total"),
        "capture_cpu_ns_per_packet": round(spent * 1e9 / max(sent, 1)),
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("capture")
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--buffer", type=int, default=32768)
    parser.add_argument("--picotap", default=str(ROOT / "target" / "release" / "picotap"))
    options = parser.parse_args()
    set_up()
    try:
        low, high = 0, None
        rate = 100_000
        while high is None or high - low > max(low // 10, 10_000):
            reached, dropped = tcpdump(options.capture, rate, options.seconds, options.buffer)
            print(f"tcpdump at {reached:,.0f} packets/s: {dropped:,} dropped", flush=True)
            if dropped or reached < rate * 0.9:
                high = min(rate, round(reached)) if dropped else round(reached)
                if not dropped:  # the sender's limit
                    low = round(reached)
                    break
            else:
                low = rate
            rate = low * 2 if high is None else (low + high) // 2
        print(f"highest rate without a drop: {low:,} packets/s")
        for share in (80, 60, 40):
            result = picotap(options.picotap, options.capture, low * share // 100, options.seconds, options.buffer)
            print(f"picotap at {share} %: {json.dumps(result)}", flush=True)
            if not result["dropped_packets"] and not result["dropped_slots"]:
                break
    finally:
        tear_down()


main()
