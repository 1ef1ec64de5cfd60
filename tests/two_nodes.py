"""A Ray cluster of two nodes on this machine, and a training by two workers on it: run by ``test_ray_engine.py``."""

import json
import os
import sys

os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}

import ray
from ray.cluster_utils import Cluster

from formtune import pipeline, ray_engine
from formtune.errors import FormtuneError
from formtune.progress import Event
from formtune.recipe import make_recipe


def told(settings: dict[str, object]) -> dict[str, object]:
    """Train, and give what came out and the stages that were told of; or the error."""
    events: list[Event] = []
    try:
        result = pipeline.train(make_recipe(settings), progress=events.append)
    except FormtuneError as error:
        return {"error": f"{type(error).__name__} {error}"}
    return {**result.to_dict(), "steps told": [e.step for e in events if e.step], "nodes": len(ray.nodes())}


def main(settings: dict[str, object], place: str) -> None:
    """Train on a disk that both nodes see, then as if they saw different ones, then with a file that is not there."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False)
    found = {"shared": told({**settings, "out": f"{place}/shared"})}
    with apart():
        tracked = {**settings["training"], "trackers": "tensorboard"}  # type: ignore[dict-item]
        found["apart"] = told({**settings, "training": tracked, "out": f"{place}/apart"})
    found["missing"] = told({**settings, "data": {"paths": f"{place}/nothing.csv"}, "out": f"{place}/missing"})
    found["too many"] = told({**settings, "training": {"engine": "ray", "workers": 9}, "out": f"{place}/many"})
    ray.shutdown()
    cluster.shutdown()
    print(json.dumps(found))


class apart:  # noqa: N801 (used as a function)
    """Lay no mark beside the output folder for a while, as on a disk that the workers do not see."""

    def __enter__(self) -> None:
        self.before = ray_engine.Path.touch
        ray_engine.Path.touch = lambda path: None if ".apart." in path.name else self.before(path)  # type: ignore[method-assign]

    def __exit__(self, *_error: object) -> None:
        ray_engine.Path.touch = self.before  # type: ignore[method-assign]


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), sys.argv[2])
