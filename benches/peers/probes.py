#!/usr/bin/env python3
"""What probes cost whom they probe: the processor time of nginx for each request on connections that stay open, and for each handshake,
with and without `picotap --tls-probes`, in turn.

picotap captures on an interface without traffic, so that nothing but the probes differs. Needs root, a kernel with BPF, nginx, wrk,
openssl and ip, and a release build.

    benches/peers/probes.py [--rounds 15] [--seconds 3] [--picotap target/release/picotap]
"""

import argparse
import pathlib
import re
import statistics
import subprocess
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
    """Nanoseconds of nginx for each request, and requests a second."""
    before = processor_time(process)
    command = ["wrk", "-t1", "-c16", f"-d{seconds}s", "https://127.0.0.1:8443/"]
    if close:
        command[1:1] = ["-H", "Connection: close"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    requests = int(re.search(r"(\d+) requests in", said)[1])
    return (processor_time(process) - before) / requests, requests / seconds


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=15)
    arguments.add_argument("--seconds", type=int, default=3)
    arguments.add_argument("--picotap", default="target/release/picotap")
    arguments.add_argument("--version", default="TLSv1.3")
    options = arguments.parse_args()
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
            results = {}
            for number in range(options.rounds):
                for probed in ([False, True] if number % 2 else [True, False]):
                    picotap = None
                    if probed:
                        picotap = subprocess.Popen(
                            [options.picotap, "-q", "-i", name, "--tls-probes", f"pid:{process}", "--no-metrics", "-o", "/dev/null"],
                            stderr=subprocess.DEVNULL,
                        )
                        time.sleep(1)
                        assert picotap.poll() is None, "picotap has ended"
                    for close in [False, True]:
                        results.setdefault((close, probed), []).append(load(process, options.seconds, close))
                    if picotap:
                        picotap.terminate()
                        picotap.wait()
            for close in [False, True]:
                for probed in [False, True]:
                    times, rates = zip(*results[close, probed])
                    what = "handshake and request" if close else "request, connection kept"
                    with_or_without = "with probes   " if probed else "without probes"
                    print(f"{what:24} {with_or_without}  nginx {statistics.median(times) / 1000:8.2f} us "
                          f"({min(times) / 1000:.2f}-{max(times) / 1000:.2f})  {statistics.median(rates):8.0f}/s")
                pairs = [one[0] / other[0] for one, other in zip(results[close, True], results[close, False])]
                print(f"{'':24} ratio of the rounds: median {statistics.median(pairs):.3f} ({min(pairs):.3f}-{max(pairs):.3f})")
        finally:
            nginx.terminate()
            nginx.wait()
            subprocess.run(["ip", "link", "del", name], check=True)


if __name__ == "__main__":
    main()
