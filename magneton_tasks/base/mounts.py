"""How file systems are mounted, by what Linux says of this process's mounts."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

_NETWORK_TYPES = re.compile(
    "9p|afs|beegfs|ceph|cifs|coda|cvmfs|davfs|glusterfs|gpfs|lustre|nfs4?|ocfs2|orangefs|panfs"
    "|pvfs2|smb[23]|smbfs|virtiofs|wekafs"
)
#: FUSE file systems that live on this machine's own disks.
_LOCAL_FUSE = frozenset({"fuseblk", "fuse.fuse-overlayfs", "fuse.mergerfs"})


@dataclass(frozen=True, slots=True)
class Mount:
    """A mounted file system.

    Attributes
    ----------
    kind
        Its type: ``ext4``, ``nfs4``, ...; empty: unknown.
    options
        Those of the mount and of the file system, separated by commas.
    """

    kind: str = ""
    options: str = ""

    @property
    def is_network(self) -> bool:
        """Whether other machines may write there, too."""
        remote_fuse = self.kind.startswith("fuse") and self.kind not in _LOCAL_FUSE
        return bool(_NETWORK_TYPES.fullmatch(self.kind)) or remote_fuse


def mount_of(existing: Path) -> Mount:
    """The mount that holds a path; one of no kind where there is no Linux."""
    try:
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return Mount()
    return mount_at(os.path.realpath(existing), mounts)


def mount_at(real: str, mounts: str) -> Mount:
    """The mount of a path without links, by the text of ``mountinfo``."""
    best, found = "", Mount()
    for line in mounts.splitlines():
        left, _, right = line.partition(" - ")
        fields, of = left.split(" "), right.split(" ")
        if len(fields) < 5 or not right:
            continue
        point = re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), fields[4])
        inside = real == point or real.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):  # a later mount hides an earlier one
            best, found = point, Mount(of[0], ",".join([*fields[5:6], *of[2:3]]))
    return found
