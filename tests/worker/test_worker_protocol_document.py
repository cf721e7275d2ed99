# SPDX-License-Identifier: GPL-3.0-or-later
"""The conversation in docs/worker_protocol.md obeys the protocol."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from one2345_blender.contracts.job import JobSpec
from one2345_blender.contracts.messages import (
    COMMANDS,
    EVENTS,
    PROTOCOL_VERSION,
    TERMINAL_EVENTS,
    Message,
    decode_line,
)
from one2345_blender.contracts.progress import STAGES

DOCUMENT = Path(__file__).parents[2] / "docs" / "worker_protocol.md"


def transcript() -> list[tuple[str, Message]]:
    found = re.search(r"```transcript\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    messages = []
    for line in found[1].splitlines():
        message = decode_line(line[2:].encode(), COMMANDS if line[0] == ">" else EVENTS)
        assert message is not None, line
        messages.append((line[0], message))
    return messages


def test_every_message_is_shown() -> None:
    shown = {message["type"] for _speaker, message in transcript()}
    assert shown == COMMANDS.keys() | EVENTS.keys()


def test_every_job_has_one_last_word() -> None:
    messages = [message for _speaker, message in transcript()]
    jobs = [message["job"] for message in messages if message["type"] == "run"]
    last_words = [message["job_id"] for message in messages if message["type"] in TERMINAL_EVENTS]
    assert Counter(last_words) == Counter(job["job_id"] for job in jobs)
    assert all(JobSpec.from_dict(job).job_id == job["job_id"] for job in jobs)


def test_version_and_stages_are_today_s() -> None:
    for _speaker, message in transcript():
        assert message.get("protocol", PROTOCOL_VERSION) == PROTOCOL_VERSION
        if message["type"] == "stage":
            assert STAGES[message["index"]] == message["name"]
            assert message["count"] == len(STAGES)


def test_the_page_lists_every_message_with_its_fields() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    for name, fields in (COMMANDS | EVENTS).items():
        row = re.search(rf"^\| `{name}` \|([^|]*)\|", text, re.MULTILINE)
        assert row is not None and tuple(re.findall(r"`(\w+)`", row[1])) == fields
