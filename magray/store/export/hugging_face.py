"""Write Parquet files as Hugging Face's `datasets` does, so that it, and the viewer of its Hub, show the pictures.

    data/train-00000.parquet …, data/test-00000.parquet …   the file's name says the split

`datasets` reads from the schema's metadata that the struct `image` is a picture. In Python:
`datasets.load_dataset("parquet", data_dir="FOLDER/data")`.
"""

import json
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from magray.store.schema import STORE_SCHEMA

FILE_BYTES = 256 * 2**20

_NAMES = {pa.float64(): "float64"}  # pyarrow says double; its other names are the ones of `datasets`


def _feature(column: pa.Field) -> Any:
    if pa.types.is_list(column.type):
        return [{inner.name: _feature(inner) for inner in column.type.value_type}]
    return {"dtype": _NAMES.get(column.type, str(column.type)), "_type": "Value"}


_FIELDS = [field for field in STORE_SCHEMA if field.name != "image"]
_FEATURES = {"image": {"_type": "Image"}, **{column.name: _feature(column) for column in _FIELDS}}
_SCHEMA = pa.schema(
    [pa.field("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])), *_FIELDS],
    metadata={"huggingface": json.dumps({"info": {"features": _FEATURES}})},
)


def write_dataset(batches: Iterable[tuple[pa.Table, list[bytes | None]]], folder: Path) -> int:
    """Write columns and PNGs of the same films to `folder`. Return the number of pictures; failed films have none."""
    pictures = 0
    with ExitStack() as files:
        splits: dict[str, _Split] = {}
        for columns, images in batches:
            pictures += sum(image is not None for image in images)
            structs = [
                None if image is None else {"bytes": image, "path": f"{film_id}.png"}
                for image, film_id in zip(images, columns["film_id"].to_pylist(), strict=True)
            ]
            rows = columns.add_column(0, _SCHEMA.field("image"), pa.array(structs, _SCHEMA.field("image").type))
            for split in rows["split"].unique().to_pylist():
                if split not in splits:
                    splits[split] = files.enter_context(_Split(folder / "data", split))
                splits[split].write(rows.filter(pc.equal(rows["split"], split)))
    return pictures


class _Split:
    """The files of one split; a new one begins when the last has FILE_BYTES."""

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir(exist_ok=True)
        self.folder, self.name, self.number = folder, name, 0
        self._open()

    def _open(self) -> None:
        self.path = self.folder / f"{self.name}-{self.number:05d}.parquet"
        self.writer = pq.ParquetWriter(self.path, _SCHEMA, compression="zstd")

    def __enter__(self) -> "_Split":
        return self

    def __exit__(self, *_: object) -> None:
        self.writer.close()

    def write(self, rows: pa.Table) -> None:
        """Add rows as one row group."""
        if self.path.stat().st_size > FILE_BYTES:
            self.writer.close()
            self.number += 1
            self._open()
        self.writer.write_table(rows.cast(_SCHEMA))
