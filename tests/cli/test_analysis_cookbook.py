"""Run every snippet of docs/analysis.md and check what it finds in a known store."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from magray.films.plan import PLAN_SCHEMA
from magray.store import STORE_SCHEMA, create_store
from tests.support.stripes import SIDE, striped_store

PAGE = Path(__file__).parents[2] / "docs" / "analysis.md"
SNIPPETS = re.findall(r"```(python|sql)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
FILMS = 24
FAILED, MISSING = (3, 4), (22, 23)  # places in the plan
LENGTH_UM = SIDE * 4e-3

SearchResult = Any


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """Return a folder with runs/quickstart after a stopped campaign, and the rows of its store."""
    folder = tmp_path_factory.mktemp("project")
    rows = pa.concat_tables(striped_store(folder / "drawn", FILMS).batches(STORE_SCHEMA.names)).to_pylist()
    for row in rows:
        row["energy_total"] = -1e8 * row["D"]
    for place in FAILED:
        rows[place] |= {"status": "failed", "image": None, "reason": "the energy is not finite", "energy_total": None}
    plan = pa.Table.from_pylist([{name: row[name] for name in PLAN_SCHEMA.names} for row in rows], PLAN_SCHEMA)
    runs = folder / "runs" / "quickstart"
    store = create_store(str(runs / "store"), "stripes", plan)
    pq.write_table(plan, runs / "plan.parquet")
    for first in range(0, MISSING[0], 4):
        store.commit(pa.Table.from_pylist(rows[first : min(first + 4, MISSING[0])], schema=STORE_SCHEMA))
    return folder, rows


Rows = list[dict[str, Any]]


def converged(rows: Rows) -> Rows:
    return [row for row in rows[: MISSING[0]] if row["status"] == "converged"]


def units(found: SearchResult, rows: Rows) -> None:
    assert (found["units"]["D"], found["units"]["energy_demag"]) == ("J/m2", "J/m3")


def counts(found: SearchResult, rows: Rows) -> None:
    assert found == [("converged", len(converged(rows)), 0.0), ("failed", len(FAILED), 0.0)]


def energies(found: SearchResult, rows: Rows) -> None:
    assert len(found) == len({row["D"] for row in converged(rows)})
    for D, energy, _ in found:
        assert energy == pytest.approx(-1e5 * D)


def failures(found: SearchResult, rows: Rows) -> None:
    (reason,) = found["reasons"].to_dict("index").items()
    D = [rows[place]["D"] for place in FAILED]
    assert reason == ("the energy is not finite", {"films": 2, "lowest_D": min(D), "highest_D": max(D)})


def missing(found: SearchResult, rows: Rows) -> None:
    assert sorted(found) == sorted((rows[place]["film_id"], rows[place]["D"]) for place in MISSING)


def balance(found: SearchResult, rows: Rows) -> None:
    for row in found["balance"].to_dicts():
        D = [1e3 * film["D"] for film in converged(rows) if film["split"] == row["split"]]
        assert row["films"] == len(D)
        assert (row["lowest"], row["mean"], row["highest"]) == pytest.approx((min(D), np.mean(D), max(D)))


def one_picture(found: SearchResult, rows: Rows) -> None:
    assert found["picture"].tobytes() in {row["image"] for row in converged(rows)}
    assert found["mz"].shape == (SIDE, SIDE)
    assert -1 <= found["mz"].min() < -0.9 < 0.9 < found["mz"].max() <= 1


def pictures(found: SearchResult, rows: Rows) -> None:
    by_id = {row["film_id"]: row["image"] for row in rows}
    assert len(found["pictures"]) == len(converged(rows))
    for film_id, picture in zip(found["films"]["film_id"].to_pylist(), found["pictures"], strict=True):
        assert picture.tobytes() == by_id[film_id]


def walls(found: SearchResult, rows: Rows) -> None:
    """Check the wall density: p stripes have 2 p walls along one axis, and D is p times 0.1 mJ/m²."""
    assert len(found["walls"]) == len(converged(rows))
    for film in found["by_D"].to_dicts():
        assert film["walls_per_um"] == pytest.approx(film["D"] / 0.1 / LENGTH_UM, rel=1e-6)


def bucket(found: SearchResult, rows: Rows) -> None:
    splits = [row["split"] for row in converged(rows)]
    assert dict(found["by_split"]) == {split: splits.count(split) for split in set(splits)}


def mean_D(found: SearchResult, rows: Rows) -> None:
    for split, mean in found["mean_D"].items():
        assert mean == pytest.approx(np.mean([row["D"] for row in converged(rows) if row["split"] == split]))


def by_status(found: SearchResult, rows: Rows) -> None:
    assert dict(found["by_status"]) == {"converged": len(converged(rows)), "failed": len(FAILED)}


CHECKS: list[Callable[[SearchResult, Rows], None]] = [
    units,
    counts,
    energies,
    failures,
    missing,
    balance,
    one_picture,
    pictures,
    walls,
    bucket,
    mean_D,
    by_status,
]


HISTORY = list(zip(SNIPPETS, CHECKS, strict=True))


@pytest.mark.parametrize(("snippet", "check"), HISTORY, ids=[c.__name__ for c in CHECKS])
def test_a_snippet_of_the_cookbook_finds_what_is_in_the_store(
    snippet: tuple[str, str], check: Callable[[SearchResult, Rows], None], project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (language, text), (folder, rows) = snippet, project
    monkeypatch.chdir(folder)
    text = text.replace("s3://bucket/films", f"file://{folder}/runs/quickstart/store")
    if language == "sql":
        check(duckdb.execute(text).fetchall(), rows)
    else:
        found: dict[str, Any] = {}
        exec(text, found)
        check(found, rows)
