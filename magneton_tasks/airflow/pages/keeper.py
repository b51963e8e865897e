"""Block maps between two looks: each is read once, then only what was added.

A map of a large volume takes seconds to read, and no answer may: a thread of its own looks, and
whoever asks gets what it has found so far.
"""

from __future__ import annotations

import gc
import logging
import sys
import threading
import time
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from magneton_tasks.errors import MagnetonError
from magneton_tasks.outcome.block_map import BlockMap
from magneton_tasks.work.attempt import Attempt

#: A look is followed by a pause of `_PAUSES` times what it took, within these, in seconds.
_PAUSES, _SHORTEST_S, _LONGEST_S = 2.0, 1.0, 10.0
#: How long an answer waits for a look, where one takes no longer: small volumes are told as they
#: are now.
_PATIENCE_S = 0.1
#: After how long a look lets another thread of the server go on. An answer needs many such turns, and
#: with Python's 5 ms each it would take as long as the look.
_SWITCH_S = 0.0005
#: Maps that nobody has asked for are dropped, and the oldest where there are many.
_KEPT_S, _KEPT = 600.0, 6

_log = logging.getLogger(__name__)


@dataclass
class _Kept:
    map: BlockMap | None = None
    problem: str | None = None
    look: Future[None] | None = None
    looked_s: float = 0.0
    asked_s: float = 0.0

    @property
    def is_looking(self) -> bool:
        return self.look is not None and not self.look.done()


class Keeper:
    """Keeps the block maps of attempts, by their directories."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[Path, _Kept] = OrderedDict()
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="block-map")
        sys.setswitchinterval(min(sys.getswitchinterval(), _SWITCH_S))
        # What the server has imported stays: looked through again and again, as a large map makes
        # Python do, it would hold up an answer for half a second.
        gc.freeze()

    def look(self, root: Path) -> tuple[BlockMap | None, str | None]:
        """The map of an attempt, as it was found last; None: it is still being read.

        The second says why it can't be read.
        """
        with self._lock:
            kept = self._kept.setdefault(root, _Kept())
            self._kept.move_to_end(root)
            kept.asked_s = time.monotonic()
            self._drop(kept.asked_s)
            begun = None
            if not kept.is_looking and self._is_due(kept):
                begun = kept.look = self._pool.submit(self._look, root, kept)
            is_quick = kept.map is None or kept.map.took_s < _PATIENCE_S
        if begun is not None and is_quick:
            wait([begun], _PATIENCE_S)
        found = kept.map if kept.map is not None and kept.map.summary else None
        return found, kept.problem

    def _is_due(self, kept: _Kept) -> bool:
        took_s = kept.map.took_s if kept.map is not None else 0.0
        pause_s = min(max(_PAUSES * took_s, _SHORTEST_S), _LONGEST_S)
        return time.monotonic() - kept.looked_s >= pause_s

    def _look(self, root: Path, kept: _Kept) -> None:
        try:
            if kept.map is None:
                kept.map = BlockMap(Attempt.open(root))
            kept.map.refresh()
            kept.problem = None
        except MagnetonError as error:
            kept.problem = str(error)
        except Exception as error:
            _log.exception("the block map of %s can't be read", root)
            kept.problem = f"{type(error).__name__}: {error}"
        finally:
            kept.looked_s = time.monotonic()

    def _drop(self, now_s: float) -> None:
        for root, kept in list(self._kept.items()):
            old = now_s - kept.asked_s > _KEPT_S or len(self._kept) > _KEPT
            if old and not kept.is_looking:
                del self._kept[root]
