#!/usr/bin/env python3
"""What probes cost whom they probe: the processor time of nginx and of wrk, its client, for each request on connections that stay open, and
for each new connection with a request, in turn

- without probes,
- with `picotap --tls-probes` (keys): probes of nginx' libcrypto at what derives secrets,
- with `picotap --processes` (connects): the program that tells who connects, and the helper that looks,
- with probes as tools have them that take the plaintext (data): at entry and return of nginx' SSL_read and SSL_write, each of which copies up to 200
  bytes to a reader. bpftrace makes them; it is installed if it is missing.

picotap captures on an interface without traffic, so that nothing but the probes differs. Needs root, a kernel with BPF, nginx, wrk,
openssl and ip, and a release build.

    benches/peers/probes.py [--rounds 15] [--seconds 3] [--picotap target/release/picotap] [--only none,keys,connects,data]
"""

import argparse
import os
import pathlib
import re
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

CONFIGURATION = """
daemon off; worker_processes 1; pid PLACE/nginx.pid; error_log PLACE/error.log; user root;
events { worker_connections 1024; }
http {
    access_log off; client_body_temp_path PLACE/tmp; proxy_temp_path PLACE/tmp; fastcgi_temp_path PLACE/tmp;
    uwsgi_temp_path PLACE/tmp; scgi_temp_path PLACE/tmp; keepalive_requests 100000000;
    server {
        listen 127.0.0.1:8443 ssl; ssl_certificate PLACE/certificate.pem; ssl_certificate_key PLACE/key.pem;
        ssl_protocols VERSION; ssl_session_cache off; ssl_session_tickets off;
        location / { return 200 'short'; }
    }
}
"""


def worker(pid):
    """The process of nginx that answers."""
    return pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0]


def processor_time(process):
    """Nanoseconds (schedstat in proc(5))."""
    return int(pathlib.Path(f"/proc/{process}/schedstat").read_text().split()[0])


def load(process, seconds, close):
    """Nanoseconds of nginx and of wrk for each request, and requests a second."""
    command = ["wrk", "-t1", "-c16", f"-d{seconds}s", "https://127.0.0.1:8443/"]
    if close:
        command[1:1] = ["-H", "Connection: close"]
    # A busy machine may not let it ask at all.
    for _ in range(5):
        before, of_children = processor_time(process), children_time()
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        requests = int(re.search(r"(\d+) requests in", said)[1])
        if requests > 0:
            client = children_time() - of_children
            return (processor_time(process) - before) / requests, client / requests, requests / seconds
    sys.exit("wrk got no answer")


def children_time():
    """Nanoseconds of the processes that have ended: wrk, between two calls."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (usage.ru_utime + usage.ru_stime) * 1e9


def library(process):
    """The libssl that a process runs."""
    maps = pathlib.Path(f"/proc/{process}/maps").read_text()
    return re.search(r"(/\S*libssl\.so\S*)", maps)[1]


def data_probes(process):
    """What bpftrace is to do: copies the plaintext of each read and write."""
    name = library(process)
    entries = ", ".join(f"uprobe:{name}:{function}" for function in ["SSL_read", "SSL_write"])
    return (
        f"{entries} {{ @buffer[tid] = arg1; }} {entries.replace('uprobe', 'uretprobe')} "
        "{ if (@buffer[tid] && (int32)retval > 0) { printf(\"%r\\n\", buf(@buffer[tid], retval)); } delete(@buffer[tid]); }"
    )


def start(mode, process, options, name):
    """What is to run beside nginx, once it is attached."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    if mode == "none":
        return None
    if mode == "data":
        environment = dict(os.environ, BPFTRACE_STRLEN="200")
        started = subprocess.Popen(["bpftrace", "-p", str(process), "-e", data_probes(process)], env=environment, **quiet)
        time.sleep(3)
    else:
        what = {"keys": ["--tls-probes", f"pid:{process}"], "connects": ["--processes"]}[mode]
        started = subprocess.Popen([options.picotap, "-q", "-i", name, *what, "--no-metrics", "-o", "/dev/null"], **quiet)
        time.sleep(1)
    assert started.poll() is None, f"{mode}: it has ended"
    return started


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=15)
    arguments.add_argument("--seconds", type=int, default=3)
    arguments.add_argument("--picotap", default="target/release/picotap")
    arguments.add_argument("--version", default="TLSv1.3")
    arguments.add_argument("--only", default="none,keys,connects,data")
    options = arguments.parse_args()
    if "data" in options.only and not shutil.which("bpftrace"):
        subprocess.run([pathlib.Path(__file__).parents[2] / "deploy/soak/install.sh", "bpftrace"], check=True)
    with tempfile.TemporaryDirectory() as directory:
        place = pathlib.Path(directory)
        (place / "tmp").mkdir()
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=bench",
             "-keyout", place / "key.pem", "-out", place / "certificate.pem"],
            check=True, capture_output=True,
        )
        text = CONFIGURATION.replace("PLACE", directory).replace("VERSION", options.version)
        (place / "nginx.conf").write_text(text)
        name, other = "picotap-b0", "picotap-b1"
        subprocess.run(["ip", "link", "add", name, "type", "veth", "peer", "name", other], check=True)
        nginx = subprocess.Popen(["nginx", "-c", place / "nginx.conf"])
        subprocess.run(["ip", "link", "set", name, "up"], check=True)
        try:
            time.sleep(1)
            process = worker(nginx.pid)
            modes = options.only.split(",")
            results = {}
            for number in range(options.rounds):
                # Each is first, second and last as often as others.
                turn = number % len(modes)
                for mode in modes[turn:] + modes[:turn]:
                    beside = start(mode, process, options, name)
                    for close in [False, True]:
                        results.setdefault((close, mode), []).append(load(process, options.seconds, close))
                    if beside:
                        beside.send_signal(signal.SIGINT)
                        beside.wait()
            for close in [False, True]:
                for mode in modes:
                    server, client, rates = (list(column) for column in zip(*results[close, mode]))
                    ratios = ""
                    if mode != modes[0]:
                        first = [one[0] for one in results[close, modes[0]]]
                        pairs = [one / other for one, other in zip(server, first)]
                        ratios = f"  ratio {statistics.median(pairs):.3f} ({min(pairs):.3f}-{max(pairs):.3f})"
                    what = "new connection, request" if close else "request, connection kept"
                    print(f"{what:24} {mode:9} nginx {statistics.median(server) / 1000:8.2f} us ({min(server) / 1000:.2f}-{max(server) / 1000:.2f})"
                          f"  wrk {statistics.median(client) / 1000:8.2f} us  {statistics.median(rates):8.0f}/s{ratios}")
        finally:
            nginx.terminate()
            nginx.wait()
            subprocess.run(["ip", "link", "del", name], check=True)


if __name__ == "__main__":
    main()
