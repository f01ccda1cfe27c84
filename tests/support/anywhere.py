"""Check that a store works at some place: what tests of all filesystems share."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from magray.films.plan import PLAN_SCHEMA
from magray.store import STORE_SCHEMA, compact, create_store, open_store, verify
from magray.store.lease import lease
from tests.support.stripes import striped_store

FILMS = 6


def check_store_at(uri: str, folder: Path) -> None:
    """Write a store at a new place, read it, write films again, and compact it: it is the same as in `folder`."""
    local = striped_store(folder / "local", FILMS)
    rows = pa.concat_tables(local.batches(STORE_SCHEMA.names))
    store = create_store(uri, "stripes", rows.select(PLAN_SCHEMA.names))
    with lease(store.location, print):
        store = store.begin_writing(FILMS)
        for first in (0, 2, 4, 0):
            store.commit(rows.slice(first, 2))
    opened = open_store(uri)
    assert len(opened.files()) == FILMS / 2
    assert opened.table().sort_by("film_id").equals(local.table().sort_by("film_id"))
    ids = rows["film_id"].to_pylist()
    np.testing.assert_array_equal(opened.images(ids), local.images(ids))
    opened.location.write("films-1/.films-0123456789abcdef01234567.parquet.01234567.tmp", b"half a file")
    assert opened.count() == FILMS
    assert verify(opened).ok
    with lease(opened.location, print):
        assert compact(opened).after == 1
    assert verify(open_store(uri)).lines == [f"{FILMS} of {FILMS} films are committed"]
