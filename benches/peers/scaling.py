#!/usr/bin/env python3
"""Workers and cores: how long a run takes beside what its threads' processor time predicts.

    benches/peers/scaling.py [--rounds 9] [--workers 1,2,...] [--cores 1,2,...] PICOTAP CAPTURE...

The prediction for W workers on C cores is the longest of: the capture thread, the workers' time by W, the export thread, all of
it by C. The times are those of one worker with all cores. So the rows with one worker and all cores say how far the threads of one run
wait for each other, and the others whether the work becomes more as it is shared. The capture thread's time has what it does for workers in it. Lines go to /dev/null. Medians of rounds in turn.
"""

import argparse
import os
import statistics
import subprocess
import threading
import time

from threads import processor_seconds

KINDS = ("capture", "sandbox", "export")
# Seconds. Looking disturbs what is looked at.
LOOK_EVERY = 0.05


def look_at(process, found, ended):
    """Keeps the processor seconds of each kind of thread as they were when all of them were there."""
    while not ended.wait(LOOK_EVERY):
        for kind, seconds in processor_seconds(process).items():
            found[kind] = max(found.get(kind, 0), seconds)


def measure(program, capture, workers, cores):
    """Wall time, and the processor time of each kind of thread."""
    command = [program, "-q", "--format", "json", "-o", "/dev/null", "--workers", str(workers), "-r", capture]
    start, found = time.perf_counter(), {}
    process = subprocess.Popen(command, preexec_fn=lambda: os.sched_setaffinity(0, cores))
    ended = threading.Event()
    looker = threading.Thread(target=look_at, args=(process.pid, found, ended))
    looker.start()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    ended.set()
    looker.join()
    if status:
        raise SystemExit(f"{' '.join(command)}: wait status {status}")
    # What threads did after the last look is shared out as what they did before it.
    total, seen = usage.ru_utime + usage.ru_stime, sum(found.values())
    if not seen:
        raise SystemExit(f"{capture}: the run ended within {LOOK_EVERY} s, too soon for this")
    return wall, {kind: found.get(kind, 0) * total / seen for kind in KINDS} | {"all": total}


def numbers(text):
    return [int(number) for number in text.split(",")]


def main():
    available = sorted(os.sched_getaffinity(0))
    count = len(available)
    powers = [number for number in (1, 2, 4, 8, 16, 32) if number <= count]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--workers", type=numbers, default=powers)
    parser.add_argument("--cores", type=numbers, default=powers)
    parser.add_argument("program")
    parser.add_argument("capture", nargs="+")
    options = parser.parse_args()
    for capture in options.capture:
        points = sorted({(1, count)} | {(workers, cores) for workers in options.workers for cores in options.cores})
        runs = {point: [] for point in points}
        for _ in range(options.rounds):
            for workers, cores in points:
                runs[workers, cores].append(measure(options.program, capture, workers, available[:cores]))
        median = lambda point, kind: statistics.median(times[kind] for _, times in runs[point])
        base = {kind: median((1, count), kind) for kind in (*KINDS, "all")}
        print(f"\n{os.path.basename(capture)}: " + ", ".join(f"{kind} {value:.3f} s" for kind, value in base.items()))
        print("\n| workers | cores | wall time | predicted | all threads |\n|---|---|---|---|---|")
        for workers, cores in points:
            wall = statistics.median(wall for wall, _ in runs[workers, cores])
            predicted = max(base["capture"], base["sandbox"] / workers, base["export"], base["all"] / cores)
            print(f"| {workers} | {cores} | {wall:.3f} s | {predicted:.3f} s | {median((workers, cores), 'all'):.3f} s |", flush=True)


if __name__ == "__main__":
    main()
