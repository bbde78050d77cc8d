#!/usr/bin/env python3
"""Turns the TCP connections of captures into inputs of fuzz/native/harness.c.

usage: seeds.py DIRECTORY CAPTURE...

Writes DIRECTORY/PARSER/NUMBER, one for each connection, for the parser that its first bytes are for. Only what a fuzzer needs as
a start is read: pcap files of Ethernet frames, IPv4 and IPv6 without extension headers, segments in order.
"""

import struct
import sys
from pathlib import Path

MOST = 16384
PARSERS = ["http1", "http2", "lines", "resp"]
# As the host usually is: it skips, wakes, shows nothing behind a gap, and gives extra state.
HEAD = bytes([4 | 8 | 16, 0, 64, 0])
# No capture of the fixtures has RESP.
RESP = [
    (0, b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$5\r\nvalue\r\n"), (1, b"+OK\r\n"), (0, b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\nPING\r\n"),
    (1, b"$5\r\nvalue\r\n+PONG\r\n"), (0, b"*2\r\n$4\r\nINCR\r\n$3\r\nkey\r\n"),
    (1, b"-ERR value is not an integer\r\n"), (0, b"*1\r\n$4\r\nKEYS\r\n"),
    (1, b"*3\r\n:1\r\n$-1\r\n*2\r\n%1\r\n+a\r\n,1.5\r\n#t\r\n"),
]


def step(side, payload, kind=0, arguments=b""):
    return bytes([0xFF, side << 2 | kind << 3]) + arguments + payload.replace(b"\xff", b"\xff\xff")


def frames(capture):
    data = capture.read_bytes()
    order = {b"\xd4\xc3\xb2\xa1": "<", b"\xa1\xb2\xc3\xd4": ">", b"\x4d\x3c\xb2\xa1": "<"}.get(data[:4])
    at = 24
    while order and at + 16 <= len(data):
        length = struct.unpack_from(order + "I", data, at + 8)[0]
        yield data[at + 16 : at + 16 + length]
        at += 16 + length


def segment(frame):
    """Ends, sequence number, payload; None: it is no TCP segment that is read here."""
    kind, ip = frame[12:14], frame[14:]
    if kind == b"\x08\x00" and len(ip) >= 20 and ip[9] == 6:
        size, end, ends = (ip[0] & 15) * 4, struct.unpack_from(">H", ip, 2)[0], (ip[12:16], ip[16:20])
    elif kind == b"\x86\xdd" and len(ip) >= 40 and ip[6] == 6:
        size, end, ends = 40, 40 + struct.unpack_from(">H", ip, 4)[0], (ip[8:24], ip[24:40])
    else:
        return None
    tcp = ip[size:end]
    if len(tcp) < 20:
        return None
    return (ends[0] + tcp[0:2], ends[1] + tcp[2:4]), struct.unpack_from(">I", tcp, 4)[0], tcp[(tcp[12] >> 4) * 4 :]


def connections(capture):
    found = {}
    for ends, number, payload in filter(None, map(segment, frames(capture))):
        if not payload:
            continue
        connection = found.setdefault(frozenset(ends), {"first": ends, "next": {}, "said": [], "steps": b""})
        side = int(ends != connection["first"])
        missing = (number - connection["next"].get(side, number)) % 2**32
        if missing >= 2**31:
            continue
        if 0 < missing:
            connection["steps"] += step(side, b"", 2, bytes([min(missing, 63)]))
        connection["next"][side] = number + len(payload)
        connection["said"].append(payload)
        connection["steps"] += step(side, payload)
    return found.values()


def parsers(first):
    if first.startswith(b"PRI * HTTP/2") or len(first) > 9 and first[:3] < b"\0\0\x40" and first[3] == 4:
        return ["http2", "http1"]
    return ["http1", "lines"]


def main():
    out, captures = Path(sys.argv[1]), map(Path, sys.argv[2:])
    seeds = {parser: set() for parser in PARSERS}
    seeds["resp"].add(b"".join(step(side, payload) for side, payload in RESP))
    for connection in (connection for capture in captures for connection in connections(capture)):
        for parser in parsers(connection["said"][0]):
            seeds[parser].add(connection["steps"][:MOST])
    for parser, steps in seeds.items():
        (out / parser).mkdir(parents=True, exist_ok=True)
        for number, each in enumerate(sorted(steps)):
            (out / parser / f"{number:04}").write_bytes(HEAD + each)


main()
