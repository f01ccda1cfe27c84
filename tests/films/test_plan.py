"""A plan that is read for a campaign holds texts that many films share once, and says the same of each film."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from magray.campaign.pipeline import blocks_of
from magray.errors import UserError
from magray.films import Protocol, films_of, plan_table
from magray.films.plan import REPEATED, checked_plan, compact, read_plan
from magray.films.protocol import Minimize, Quench
from magray.micromagnetics import relax
from magray.store import create_store, rows_of, verify
from tests.support.specimens import co_like
from tests.support.stores import wanting

QUENCHED = Protocol(stages=(Quench(0.5, 1e-12), Minimize(1e-2)))
FILMS = [
    co_like((8, 8), seed=seed, protocol=QUENCHED if seed % 3 else Protocol(stages=(Minimize(1e-2),)))
    for seed in range(40)
]
PLAN = plan_table(FILMS, "small")


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """Return a plan on disk in row groups, each of which has texts of its own."""
    pq.write_table(PLAN, tmp_path / "plan.parquet", row_group_size=7)
    return tmp_path / "plan.parquet"


def test_a_plan_that_is_read_has_the_same_films_in_half_of_the_memory(written: Path) -> None:
    plan = read_plan(written)
    assert films_of(plan) == FILMS
    assert plan["film_id"].equals(PLAN["film_id"])
    texts = plan_table(FILMS * 100, "small").select(list(REPEATED))
    assert compact(texts).nbytes < texts.nbytes / 4


def test_a_compact_plan_is_checked_as_any_other(written: Path) -> None:
    plan = read_plan(written)
    assert films_of(checked_plan(plan)) == FILMS
    place = plan.column_names.index("protocol")
    wrong = pa.array([b"\xff"] * plan.num_rows).view(pa.string())  # no UTF-8
    with pytest.raises(UserError, match="no table of films"):
        checked_plan(compact(plan.set_column(place, PLAN.schema.field("protocol"), wrong)))


@pytest.mark.parametrize("films", [3, 7, 64])
def test_blocks_of_a_compact_plan_are_those_of_the_plan(written: Path, films: int) -> None:
    """Though its parts have other dictionaries."""
    blocks = list(blocks_of(wanting(read_plan(written), range(40)), films))
    assert [film for block in blocks for film in films_of(block)] == FILMS
    assert [block.num_rows for block in blocks[:-1]] == [films] * (len(blocks) - 1)


def test_a_store_is_verified_by_a_compact_plan(written: Path, tmp_path: Path) -> None:
    """A film that the plan has with another D is found, and so is one that is missing."""
    store = create_store(str(tmp_path / "store"), "small", read_plan(written))
    store.commit(rows_of(list(relax(FILMS[:39], "cpu")), PLAN.slice(0, 39)))
    assert verify(store, read_plan(written)).missing == [FILMS[39].film_id]
    other = PLAN.set_column(
        PLAN.column_names.index("D"),
        PLAN.schema.field("D"),
        pa.array([2 * film.D for film in FILMS[:1]] + [film.D for film in FILMS[1:]]),
    )
    (line,) = verify(store, compact(other)).foreign
    assert FILMS[0].film_id in line
    assert "other inputs" in line
