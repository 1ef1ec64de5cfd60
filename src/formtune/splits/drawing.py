"""Drawing clusters: about as many records as asked for, in the labels' proportions."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from formtune.errors import SettingError
from formtune.splits.clusters import Cluster

Drawn = tuple[list[Cluster], list[Cluster]]


@dataclass(slots=True)
class _Basket:
    """What has been drawn so far, and what still may be."""

    room: int
    quotas: Counter[str]
    n_clusters: Counter[str]  # of each label, not drawn yet
    spare: bool
    places: set[int] = field(default_factory=set)

    def is_last(self, cluster: Cluster) -> bool:
        return self.spare and any(self.n_clusters[label] == 1 for label in cluster.labels)

    def exceeds(self, cluster: Cluster) -> bool:
        return any(count > self.quotas[label] for label, count in cluster.labels.items())

    def take(self, place: int, cluster: Cluster) -> None:
        self.places.add(place)
        self.room -= len(cluster.records)
        self.quotas.subtract(cluster.labels)
        self.n_clusters.subtract(cluster.labels.keys())


def draw(pool: Sequence[Cluster], n_records: int, what: str) -> Drawn:
    """Take clusters with about a number of records, in the pool's proportions of labels.

    At least one cluster of every label stays in the pool, for training.

    Args:
        pool: in random order.
        n_records: how many.
        what: the name of the split, for messages.

    Returns:
        The drawn clusters and the others.

    Raises:
        SettingError: when nothing can be drawn.
    """
    totals = _totals(pool)
    caps = {label: count - 1 for label, count in totals.items()}
    quotas = _apportion(_n_labels(pool, n_records, totals), totals, caps)
    return _fill(pool, n_records, quotas, spare=True, what=what)


def draw_train(pool: Sequence[Cluster], n_records: int, *, balanced: bool = False) -> Drawn:
    """Take clusters with about a number of records, at least one record of every label among the quotas.

    Raises:
        SettingError: when there are more labels than records asked for, or nothing can be drawn.
    """
    totals = _totals(pool)
    if len(totals) > n_records:
        raise SettingError(
            f"{n_records} training records cannot hold all {len(totals)} labels.", "Raise the number.", at="--n-train"
        )
    weights = dict.fromkeys(totals, 1) if balanced else totals
    quotas = _at_least_one(_apportion(_n_labels(pool, n_records, totals), weights, totals))
    return _fill(pool, n_records, quotas, spare=False, what="train")


def sample(pool: Sequence[Cluster], n_records: int, what: str) -> Drawn:
    """Take clusters with about a number of records, in the pool's proportions of labels, none held back."""
    totals = _totals(pool)
    quotas = _apportion(_n_labels(pool, n_records, totals), totals, totals)
    return _fill(pool, n_records, quotas, spare=False, what=what)


def _fill(pool: Sequence[Cluster], n_records: int, quotas: Mapping[str, int], *, spare: bool, what: str) -> Drawn:
    """Take first what exceeds no quota, then what fits, at last the smallest that brings the sum nearer."""
    n_clusters = Counter(label for cluster in pool for label in cluster.labels)
    basket = _Basket(n_records, Counter(dict(quotas)), n_clusters, spare)
    for by_quota in (True, False):
        for place, cluster in enumerate(pool):
            if place in basket.places or len(cluster.records) > basket.room or basket.is_last(cluster):
                continue
            if not (by_quota and basket.exceeds(cluster)):
                basket.take(place, cluster)
    free = [i for i, cluster in enumerate(pool) if i not in basket.places and not basket.is_last(cluster)]
    nearest = min(free, key=lambda place: len(pool[place].records), default=None)
    if nearest is not None and len(pool[nearest].records) < 2 * basket.room:
        basket.take(nearest, pool[nearest])
    if (basket.room > 0 and not free) or (n_records and not basket.places):
        raise SettingError(
            f"{n_records} records are asked for, and only {n_records - basket.room} can be drawn: the others are the"
            " last of their label, or in groups that are too large.",
            "Lower the sizes, give more records of the rare labels, or use smaller groups.",
            at=f"--n-{what}",
        )
    drawn = sorted(basket.places)
    return [pool[i] for i in drawn], [cluster for i, cluster in enumerate(pool) if i not in basket.places]


def _totals(pool: Iterable[Cluster]) -> Counter[str]:
    totals: Counter[str] = Counter()
    for cluster in pool:
        totals.update(cluster.labels)
    return totals


def _n_labels(pool: Sequence[Cluster], n_records: int, totals: Counter[str]) -> int:
    """Say how many labels a number of records carries; as many as records, where each has one."""
    return round(n_records * totals.total() / max(sum(len(cluster.records) for cluster in pool), 1))


def _apportion(n: int, weights: Mapping[str, int], caps: Mapping[str, int]) -> dict[str, int]:
    """Share a number out in proportion to weights, by largest remainder, no share above its cap."""
    total = sum(weights.values())
    exact = {label: n * weight / total for label, weight in weights.items()}
    shares = {label: min(int(share), caps[label]) for label, share in exact.items()}
    order = sorted(shares, key=lambda label: (int(exact[label]) - exact[label], label))
    left = min(n, sum(caps.values())) - sum(shares.values())
    while left > 0:
        for label in [label for label in order if shares[label] < caps[label]][:left]:
            shares[label] += 1
            left -= 1
    return shares


def _at_least_one(quotas: Mapping[str, int]) -> dict[str, int]:
    """Give every label a record, at the cost of the most frequent."""
    shares = dict(quotas)
    for label in sorted(label for label, quota in quotas.items() if quota == 0):
        most = max(sorted(shares), key=lambda name: shares[name])
        shares[most] -= 1
        shares[label] += 1
    return shares
