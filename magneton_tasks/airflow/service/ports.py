"""Free ports of this machine."""

from __future__ import annotations

import socket


def free_ports(*names: str) -> dict[str, int]:
    """A free port on loopback for each name; held together, so that all differ."""
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_STREAM) for _ in names]
    try:
        for held in sockets:
            held.bind(("127.0.0.1", 0))
        return {name: int(held.getsockname()[1]) for name, held in zip(names, sockets, strict=True)}
    finally:
        for held in sockets:
            held.close()
