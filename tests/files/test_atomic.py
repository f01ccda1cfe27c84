"""Files of which a reader sees one whole version, whatever a writer does meanwhile."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from matplotlib.figure import Figure
from PIL import Image

from magray.estimator.weights import save_weights
from magray.files.atomic import atomic_folder, atomic_write, read_table, write_table
from magray.imaging import write_picture
from magray.network.branches import paper_cnn
from magray.report.figures import save


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
    with pytest.raises(ZeroDivisionError), atomic_write(path) as unfinished:
        unfinished.write_text(f"after {1 / 0}", encoding="utf-8")
    assert [file.name for file in tmp_path.iterdir()] == ["answer.txt"]
    assert path.read_text(encoding="utf-8") == "before"


def test_a_name_with_a_colon_is_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyArrow takes a:/b for the address of a file on another system."""
    monkeypatch.chdir(tmp_path)
    Path("a:").mkdir()
    write_table(pa.table({"x": [1]}), Path("a:/b.parquet"))
    assert read_table(Path("a:/b.parquet"), pa.schema([("x", pa.int64())])).num_rows == 1


def test_what_a_killed_writer_left_goes_with_the_next_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "study.parquet"
    killed = "import os, sys; from magray.files.atomic import atomic_write; from pathlib import Path\n"
    killed += "with atomic_write(Path(sys.argv[1])) as unfinished: unfinished.touch(); os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", killed, path], check=False)
    (left,) = tmp_path.iterdir()
    others = [tmp_path / left.name.replace("study", "causes"), tmp_path / ".study.parquet.elsewhere.1.unfinished"]
    for other in others:
        other.touch()
    write_table(pa.table({"trial": ["a"]}), path)
    assert sorted(tmp_path.iterdir()) == sorted([path, *others])


def test_a_killed_writer_of_a_folder_does_not_stop_the_next(tmp_path: Path) -> None:
    killed = "import os, sys; from magray.files.atomic import atomic_folder; from pathlib import Path\n"
    killed += "with atomic_folder(Path(sys.argv[1])) as unfinished: (unfinished / 'a').touch(); os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", killed, tmp_path / "pictures"], check=False)
    assert len(list(tmp_path.iterdir())) == 1
    with atomic_folder(tmp_path / "pictures") as unfinished:
        (unfinished / "b").touch()
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "pictures", tmp_path / "pictures" / "b"]


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_who_may_read_a_file_is_a_matter_of_the_umask(tmp_path: Path, umask: int) -> None:
    """Some libraries make files for their owner alone, and a group could not use an estimator."""
    former = os.umask(umask)
    try:
        with atomic_write(tmp_path / "weights") as unfinished:
            unfinished.unlink()
            os.close(os.open(unfinished, os.O_CREAT | os.O_WRONLY, 0o600))
        save_weights(paper_cnn(1, width=0.5), tmp_path / "network.safetensors")
    finally:
        os.umask(former)
    modes = {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == {0o666 & ~umask}


def write_film(path: Path) -> None:
    write_picture(path, np.eye(8, dtype=np.uint8))


def write_figure(path: Path) -> None:
    save(Figure(), path)


@pytest.mark.parametrize("write", [write_film, write_figure])
def test_a_picture_is_there_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path], None]
) -> None:
    path = tmp_path / "film.png"
    write(path)
    before, whole = path.read_bytes(), Image.Image.save

    def cut_short(image: Image.Image, file: Any, *rest: Any, **settings: Any) -> None:
        whole(image, file, *rest, **settings)
        if isinstance(file, Path):
            os.truncate(file, 10)
            raise InterruptedError

    monkeypatch.setattr(Image.Image, "save", cut_short)
    with pytest.raises(InterruptedError):
        write(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["film.png"]
