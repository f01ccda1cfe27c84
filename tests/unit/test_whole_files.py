"""Files of which a reader sees one whole version, whatever a writer does meanwhile."""

from pathlib import Path
from threading import Event, Thread

import pyarrow as pa
import pytest

from magray.whole import read_table, whole_file, write_table


def test_a_table_is_read_as_it_was_at_one_moment_while_others_take_its_place(tmp_path: Path) -> None:
    path, enough = tmp_path / "search.parquet", Event()
    versions = [pa.table({"trial": [f"{n}" * (1 + n % 7)] * n, "worst": [float(n)] * n}) for n in range(1, 60)]
    write_table(versions[0], path)

    def write() -> None:
        while not enough.is_set():
            for version in versions:
                write_table(version, path)

    writer = Thread(target=write)
    writer.start()
    try:
        read = [read_table(path, versions[0].schema) for _ in range(300)]
    finally:
        enough.set()
        writer.join()
    assert all(table.equals(versions[table.num_rows - 1]) for table in read)
    assert len({table.num_rows for table in read}) > 1, "nothing was written meanwhile"


def test_a_file_that_fails_to_be_written_leaves_the_former_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "answer.txt"
    path.write_text("before", encoding="utf-8")
    with pytest.raises(ZeroDivisionError), whole_file(path) as unfinished:
        unfinished.write_text(f"after {1 / 0}", encoding="utf-8")
    assert [file.name for file in tmp_path.iterdir()] == ["answer.txt"]
    assert path.read_text(encoding="utf-8") == "before"
