"""Stores of drawn films in many files, as campaigns leave them."""

from pathlib import Path

import pyarrow as pa

from magray.films.plan import PLAN_SCHEMA
from magray.store import STORE_SCHEMA, Store, create_store
from tests.support.stripes import striped_store


def scattered_store(folder: Path, films: int, films_per_file: int) -> Store:
    """Return a committed store of `films` striped films in `folder`, `films_per_file` in each file."""
    rows = pa.concat_tables(striped_store(folder.with_name("in_one_file"), films).batches(STORE_SCHEMA.names))
    store = create_store(str(folder), "stripes", rows.select(PLAN_SCHEMA.names))
    for first in range(0, films, films_per_file):
        store.commit(rows.slice(first, films_per_file))
    return store


def wanting(plan: pa.Table, films: range) -> pa.Table:
    """Return a plan some of whose films are wanted, as a campaign marks those that are missing."""
    return plan.append_column("wanted", pa.array([place in films for place in range(plan.num_rows)]))


def plan_of(store: Store) -> pa.Table:
    """Return the plan of a complete store."""
    return store.table(PLAN_SCHEMA.names)
