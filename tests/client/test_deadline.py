# SPDX-License-Identifier: GPL-3.0-or-later
"""Deadlines, reached, lifted and replaced."""

from __future__ import annotations

import threading

from one2345_blender.client.deadline import Deadline

SOON_S, LATER_S = 0.05, 600.0


def test_it_is_reached_by_itself_in_another_thread() -> None:
    reached_by: list[threading.Thread] = []
    is_reached = threading.Event()

    def act() -> None:
        reached_by.append(threading.current_thread())
        is_reached.set()

    Deadline().set(SOON_S, act)
    assert is_reached.wait(60.0)
    assert reached_by != [threading.current_thread()]


def test_a_lifted_or_replaced_one_is_not_reached() -> None:
    acts: list[str] = []
    is_reached = threading.Event()
    lifted, replaced = Deadline(), Deadline()
    lifted.set(SOON_S, lambda: acts.append("lifted"))
    lifted.lift()
    replaced.set(SOON_S, lambda: acts.append("replaced"))
    replaced.set(4 * SOON_S, is_reached.set)
    assert is_reached.wait(60.0)
    assert acts == []


def test_what_is_done_at_one_may_set_the_next() -> None:
    deadline, is_reached = Deadline(), threading.Event()
    deadline.set(SOON_S, lambda: deadline.set(SOON_S, is_reached.set))
    assert is_reached.wait(60.0)


def test_lifting_leaves_no_thread_that_waits() -> None:
    deadline = Deadline()
    before = set(threading.enumerate())
    deadline.set(LATER_S, lambda: None)
    (keeper,) = set(threading.enumerate()) - before
    deadline.lift()
    keeper.join(60.0)
    assert not keeper.is_alive()


def test_lifting_waits_for_what_has_begun() -> None:
    """Once `lift` has returned, nothing of the deadline is under way."""
    deadline, has_begun, may_end = Deadline(), threading.Event(), threading.Event()
    acts: list[str] = []

    def act() -> None:
        has_begun.set()
        may_end.wait(60.0)
        acts.append("done")

    deadline.set(0.0, act)
    assert has_begun.wait(60.0)
    threading.Timer(SOON_S, may_end.set).start()
    deadline.lift()
    assert acts == ["done"]
