"""Jobs of all kinds, done by the Ray engine on this machine: run by ``test_engines.py``."""

import json
import os
import sys
from functools import partial
from pathlib import Path

os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}

import side_jobs

from formtune.engines.ray import on_ray
from formtune.errors import FormtuneError
from formtune.progress import Event
from formtune.side_by_side import Action, Job


def main(folder: Path) -> None:
    """Do jobs that end well, badly, and with their worker; print what came of each."""
    events: list[Event] = []
    with on_ray(2) as run:

        def came_of(*actions: Action) -> object:
            try:
                return run([Job("one", action) for action in actions], events.append)
            except (FormtuneError, RuntimeError) as error:
                return f"{type(error).__name__} {error}"

        found = {
            "in order": came_of(*(partial(side_jobs.told, name) for name in "abcde")),
            "none": came_of(),
            "killed once": came_of(partial(side_jobs.killed_once, folder)),
            "wrong": came_of(side_jobs.wrong),
            "broken": came_of(side_jobs.broken),
            "unpicklable": came_of(side_jobs.unpicklable),
            "killed": came_of(side_jobs.killed),
        }
    print(json.dumps({**found, "events": sorted(event.stage for event in events)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
