#!/usr/bin/env python3
"""Counts the instructions that picotap takes for a capture, by commit.

    benches/peers/instructions.py [--capture FILE]... [--also ARGUMENTS] COMMIT...

Differences of a few per cent do not show in times on a shared machine; instructions do not depend on what else runs. Each
commit is built in a worktree of its own, with symbols, and run under callgrind with one worker. callgrind cannot reserve the
address space of the sandbox's pool, so its memories are allocated on demand: the one change to the source. Needs valgrind.
With --also '--report /tmp/r.html' each is counted again with these arguments, and compared with itself without them.
Prints a table, and keeps callgrind's files in target/instructions for callgrind_annotate.
"""

import argparse
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "target" / "instructions"
POOL = ".allocation_strategy(pool)"


def run(*command, cwd=ROOT, **options):
    return subprocess.run([str(part) for part in command], cwd=cwd, check=True, text=True, **options)


def build(commit):
    """The program of a commit."""
    tree = TARGET / "tree"
    run("git", "worktree", "add", "--force", "--detach", tree, commit, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        engine = tree / "src" / "sandbox" / "engine.rs"
        source = engine.read_text()
        if POOL not in source:
            sys.exit(f"{commit}: {engine.relative_to(tree)} has no {POOL}: adapt this script")
        engine.write_text(source.replace(POOL, ".memory_reservation({ let _ = pool; 1 << 32 })"))
        environment = os.environ | {"CARGO_TARGET_DIR": str(TARGET / "build"), "CARGO_PROFILE_RELEASE_STRIP": "none"}
        environment["CARGO_PROFILE_RELEASE_DEBUG"] = "line-tables-only"
        # The worktrees have one path, so that what is built of one must not be taken for the next.
        run("cargo", "clean", "--release", "-p", "picotap", cwd=tree, env=environment, stderr=subprocess.DEVNULL)
        run("cargo", "build", "--locked", "--release", "--bin", "picotap", cwd=tree, env=environment)
        program = TARGET / f"picotap-{commit.replace('/', '-')}"
        program.write_bytes((TARGET / "build" / "release" / "picotap").read_bytes())
        program.chmod(0o755)
        return program
    finally:
        run("git", "worktree", "remove", "--force", tree)


def count(program, capture, also=()):
    """Instructions, of all threads."""
    output = TARGET / f"callgrind.{program.name}.{capture.stem}{'.also' if also else ''}"
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={output}", "--dump-line=yes", program]
    done = run(*command, "-q", "--workers", "1", "-r", capture, "-o", "/dev/null", *also, stderr=subprocess.PIPE)
    found = re.search(r"refs:\s+([\d,]+)", done.stderr)
    if not found:
        sys.exit(f"callgrind printed no count:\n{done.stderr}")
    return int(found[1].replace(",", ""))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commits", metavar="COMMIT", nargs="+", help="the first is what the others are compared with")
    default = ROOT / "fixtures" / "http.pcap"
    parser.add_argument("--capture", metavar="FILE", type=Path, action="append", help=f"default: {default.relative_to(ROOT)}")
    parser.add_argument("--also", metavar="ARGUMENTS", type=shlex.split, help="count each again with these")
    arguments = parser.parse_args()
    captures = [capture.resolve() for capture in arguments.capture or [default]]
    TARGET.mkdir(parents=True, exist_ok=True)
    programs = [build(commit) for commit in arguments.commits]
    for capture in captures:
        first = None
        for commit, program in zip(arguments.commits, programs):
            instructions = count(program, capture)
            first = first or instructions
            print_row(capture, commit, instructions, first)
            if arguments.also:
                print_row(capture, "  also", count(program, capture, arguments.also), instructions)


def print_row(capture, name, instructions, first):
    print(f"{capture.name}  {name:<12} {instructions / 1e6:>10,.1f} M  {100 * (instructions / first - 1):+6.2f} %", flush=True)


if __name__ == "__main__":
    main()
