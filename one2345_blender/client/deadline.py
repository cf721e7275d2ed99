# SPDX-License-Identifier: GPL-3.0-or-later
"""A deadline that is kept while everybody else is busy."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Deadline:
    """One deadline at a time, kept by a thread of its own: the thread that sets it may be busy, as
    Blender's main thread is while it draws or renders. Every method may be called from any thread.
    """

    def __init__(self) -> None:
        """None is set yet."""
        self._lock = threading.RLock()  # what is done at one deadline may set the next
        self._timer: threading.Timer | None = None

    def set(self, seconds: float, act: Callable[[], object]) -> None:
        """Have `act` called in that thread after `seconds`, and not what was set before."""
        with self._lock:
            self.lift()
            self._timer = threading.Timer(seconds, self._reach, (act,))
            self._timer.name, self._timer.daemon = "one2345-deadline", True
            self._timer.start()

    def lift(self) -> None:
        """Once this has returned, what was set is not called any more."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    def _reach(self, act: Callable[[], object]) -> None:
        with self._lock:
            if self._timer is threading.current_thread():  # not lifted while this thread woke up
                self._timer = None
                act()
