"""Export a store's pictures for other programs: a file a picture, or a data set for Hugging Face's `datasets`.

Memory holds a row group. The folder appears when it is complete.
"""

import errno
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import csv

from magray.errors import UserError
from magray.files.atomic import atomic_folder
from magray.store.export.hugging_face import write_dataset
from magray.store.parquet import bounded_map
from magray.store.schema import LOOP, SCALARS, STORE_SCHEMA
from magray.store.store import Store

ExportFormat = Literal["png", "ovf", "vtk", "hf"]
FOLDER_FILES = 10_000  # more in one folder make file managers and `ls` suffer
_ENCODERS = 4  # pictures encoded at once

_OVF_HEADER = """\
# OOMMF OVF 2.0
# Segment count: 1
# Begin: Segment
# Begin: Header
# Title: mz
# Desc: rounded to 1/127.5
# meshtype: rectangular
# meshunit: m
# xmin: 0
# ymin: 0
# zmin: 0
# xmax: {x}
# ymax: {y}
# zmax: {dz}
# valuedim: 1
# valuelabels: mz
# valueunits: 1
# xbase: {half[0]}
# ybase: {half[1]}
# zbase: {half[2]}
# xnodes: {nx}
# ynodes: {ny}
# znodes: 1
# xstepsize: {dx}
# ystepsize: {dy}
# zstepsize: {dz}
# End: Header
# Begin: Data Binary 4
"""

_VTK_HEADER = """\
# vtk DataFile Version 3.0
mz, rounded to 1/127.5
BINARY
DATASET STRUCTURED_POINTS
DIMENSIONS {corners[0]} {corners[1]} 2
ORIGIN 0 0 0
SPACING {dx} {dy} {dz}
CELL_DATA {cells}
SCALARS mz float 1
LOOKUP_TABLE default
"""

LOOPS = pa.schema([pa.field("film_id", pa.string()), *LOOP.type.value_type])

Picture = NDArray[np.uint8]
Encode = Callable[[Picture, dict[str, float]], bytes]


def export_pictures(store: Store, folder: str | Path, format: ExportFormat = "png") -> int:  # noqa: A002
    """Write the pictures of a store to a new folder. Return their number; films that failed have none.

    png: `<film_id>.png`, 8-bit grey; row 0 of the film is the picture's top row.
    ovf: `<film_id>.ovf`, OVF 2.0, binary 4, one value a cell: mz as the picture has it, rounded to 1/127.5. The store
    holds no mx and my.
    vtk: `<film_id>.vtk`, legacy VTK, binary, the same values of the same cells, for ParaView and PyVista.
    Each has every scalar column in `films.csv`, and the points of hysteresis loops, if there are any, in `loops.csv`;
    the pictures lie in folders by the first digits of the id if they are more than FOLDER_FILES.
    hf: `data/<split>-<number>.parquet` with `image` as Hugging Face's `datasets` has it, and every other column.
    Raises UserError if the folder is not new or empty, or the store cannot be read.
    """
    with _new_folder(Path(folder)) as unfinished:
        if format == "hf":
            return write_dataset(_encoded(store, png), unfinished)
        return _write_files(store, unfinished, format, _ENCODES[format])


def png(picture: Picture, film: dict[str, float]) -> bytes:  # noqa: ARG001
    """Return a picture as an 8-bit grey PNG."""
    from PIL import Image

    content = io.BytesIO()
    Image.fromarray(picture).save(content, "png")
    return content.getvalue()


def ovf(picture: Picture, film: dict[str, float]) -> bytes:
    """Return mz as an OVF 2.0 file, which OOMMF, mumax3 and discretisedfield read."""
    (ny, nx), (dx, dy, dz) = picture.shape, (film["dx"], film["dy"], film["dz"])
    header = _OVF_HEADER.format(nx=nx, ny=ny, dx=dx, dy=dy, dz=dz, x=nx * dx, y=ny * dy, half=(dx / 2, dy / 2, dz / 2))
    # the first number lets a reader check the order of the bytes
    values = np.concatenate([[1234567.0], picture.ravel() / 127.5 - 1]).astype("<f4")
    return header.encode() + values.tobytes() + b"\n# End: Data Binary 4\n# End: Segment\n"


def vtk(picture: Picture, film: dict[str, float]) -> bytes:
    """Return mz as a legacy VTK file, a value a cell: https://docs.vtk.org/en/latest/vtk_file_formats/."""
    (ny, nx), (dx, dy, dz) = picture.shape, (film["dx"], film["dy"], film["dz"])
    header = _VTK_HEADER.format(corners=(nx + 1, ny + 1), cells=nx * ny, dx=dx, dy=dy, dz=dz)
    return header.encode() + (picture.ravel() / 127.5 - 1).astype(">f4").tobytes() + b"\n"


_ENCODES: dict[ExportFormat, Encode] = {"png": png, "ovf": ovf, "vtk": vtk}


def _write_files(store: Store, folder: Path, suffix: str, encode: Encode) -> int:
    """Write a file a picture, and films.csv. Return the number of pictures."""
    digits, written = _digits(store.count()), 0
    schema = pa.schema([STORE_SCHEMA.field(name) for name in SCALARS])
    loops, recorded = folder / "loops.csv", 0
    with csv.CSVWriter(folder / "films.csv", schema) as table, csv.CSVWriter(loops, LOOPS) as points:
        for rows, files in _encoded(store, encode):
            for film_id, content in zip(rows["film_id"].to_pylist(), files, strict=True):
                if content is not None:
                    place = folder / film_id[:digits]
                    place.mkdir(exist_ok=True)
                    (place / f"{film_id}.{suffix}").write_bytes(content)
                    written += 1
            table.write_table(rows.select(SCALARS).cast(schema))
            points.write_table(found := _points(rows))
            recorded += found.num_rows
    if not recorded:
        loops.unlink()
    return written


def _points(rows: pa.Table) -> pa.Table:
    """Return the points of the films' loops, in order."""
    loops = rows["loop"].combine_chunks()
    film_ids = rows["film_id"].combine_chunks().take(pc.list_parent_indices(loops))
    return pa.table([film_ids, *pc.list_flatten(loops).flatten()], LOOPS)


def _digits(films: int) -> int:
    """Return how many digits of the ids name the folders, so that none has more than FOLDER_FILES; 0: one folder."""
    digits = 0
    while films > FOLDER_FILES * 16**digits * (0.5 if digits else 1):  # ids spread evenly, but not exactly so
        digits += 1
    return digits


def _encoded(store: Store, encode: Encode) -> Iterator[tuple[pa.Table, list[bytes | None]]]:
    """Yield, by row group, the other columns and the encoded pictures of the same films; None where there is none."""

    def one(rows: pa.Table, row: int) -> bytes | None:
        image = rows["image"][row].as_buffer()
        if image is None:
            return None
        film = {name: rows[name][row].as_py() for name in ("height", "width", "dx", "dy", "dz")}
        return encode(np.frombuffer(image, np.uint8).reshape(film["height"], film["width"]), film)

    for rows in store.batches(STORE_SCHEMA.names):
        yield rows.drop_columns("image"), list(bounded_map(partial(one, rows), range(rows.num_rows), _ENCODERS))


@contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """Yield a folder to write to, which becomes `folder` at the end, or is removed on an error.

    What a killed export of this machine left is removed.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} is not empty; export to a new folder")
    try:
        with atomic_folder(folder) as unfinished:
            yield unfinished
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR, errno.EACCES, errno.EPERM):
            raise
        raise UserError(f"cannot write to {folder}: {error.strerror}; export to another folder") from error
