# SPDX-License-Identifier: GPL-3.0-or-later
"""What the queue's rows call the conversions, so that each has a name of its own."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from bpy.app.translations import pgettext_iface as iface_

from ..client.job_queue import Job


def job_names(jobs: Sequence[Job], object_names: Mapping[str, str]) -> list[str]:
    """One for each job: its object's name, else its picture's; with the seed where the picture has
    several in the queue, and a number where that does not tell them apart.

    Args:
        jobs: The rows.
        object_names: By job id, of those that became an object.
    """
    seeds: defaultdict[str, set[int]] = defaultdict(set)
    for job in jobs:
        seeds[job.spec.image_path.stem].add(job.spec.seed)
    names = []
    for job in jobs:
        stem = job.spec.image_path.stem
        name = object_names.get(job.spec.job_id, stem)
        if len(seeds[stem]) > 1:
            name = iface_("{}, seed {}").format(name, job.spec.seed)
        names.append(name)
    totals, seen = Counter(names), Counter[str]()
    for place, name in enumerate(names):
        seen[name] += 1
        if totals[name] > 1:
            names[place] = f"{name} ({seen[name]})"
    return names
