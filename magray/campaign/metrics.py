"""The counters of a campaign for Prometheus, by way of Ray, which puts `ray_` before each name."""

from functools import cache

import pyarrow as pa
import pyarrow.compute as pc
from ray.util.metrics import Counter

METRICS = {
    "magray_films_total": "Films committed, by campaign and status",
    "magray_evaluations_total": "Evaluations of the field in committed films, by campaign",
    "magray_film_seconds_total": "Seconds of cores and GPUs in committed films, by campaign",
    "magray_bytes_total": "Bytes of pictures committed, before compression, by campaign",
    "magray_failures_total": "Films committed as failed, by campaign",
}


def count(rows: pa.Table, campaign: str) -> None:
    """Count rows of the store that were just committed, on the node that committed them."""
    for status in pc.value_counts(rows["status"]).to_pylist():
        _counter("magray_films_total").inc(status["counts"], {"campaign": campaign, "status": status["values"]})
    totals = {
        "magray_evaluations_total": pc.sum(rows["evaluations"]).as_py(),
        "magray_film_seconds_total": pc.sum(rows["seconds"]).as_py(),
        "magray_bytes_total": pc.sum(pc.binary_length(rows["image"])).as_py(),
        "magray_failures_total": pc.sum(pc.equal(rows["status"], "failed")).as_py(),
    }
    for name, total in totals.items():
        if total:
            _counter(name).inc(total, {"campaign": campaign})


@cache
def _counter(name: str) -> Counter:
    tags = ("campaign", "status") if name == "magray_films_total" else ("campaign",)
    return Counter(name, METRICS[name], tag_keys=tags)
