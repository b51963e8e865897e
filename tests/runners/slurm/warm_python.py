"""Stands for Python on the compute nodes: the worker is a real one, which the test starts (`warm_jobs`).

What is asked for goes there over ``$FAKE_SLURM/warm``: arguments, directory, environment and streams;
this process ends as the worker does.
"""

from __future__ import annotations

import marshal
import os
import socket
import sys


def main() -> int:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as test:
        test.connect(f"{os.environ['FAKE_SLURM']}/warm")
        asked = marshal.dumps((sys.argv[1:], os.getcwd(), dict(os.environ)))
        socket.send_fds(test, [asked], [0, 1, 2])
        return int(test.recv(16) or 1)  # nothing: the test has ended


if __name__ == "__main__":
    sys.exit(main())
