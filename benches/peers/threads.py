"""The processor time of a process, by kind of thread."""

import re
from pathlib import Path


def processor_seconds(process):
    """Seconds of the threads that there are, by their names without numbers."""
    found = {}
    for task in Path(f"/proc/{process}/task").glob("*"):
        try:
            name = re.sub(r"[-0-9]+$", "", (task / "comm").read_text().strip())
            nanoseconds = int((task / "schedstat").read_text().split()[0])
        except OSError:
            continue  # it has ended
        found[name] = found.get(name, 0) + nanoseconds / 1e9
    return found
