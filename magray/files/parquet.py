"""Read Parquet files, wherever they come from, as plain columns of a schema that is known beforehand.

Beside its own schema, a Parquet file may hold the schema of the Arrow table that it was written from, which may name
extension types. pyarrow has those types' code build the columns, for instance that of Ray Data, which unpickles their
values. So the Arrow schema is hidden from pyarrow: columns have the types that Parquet itself gives them, and those are
compared with the expected ones before any value is read.

The rest of the package reads no Parquet or Arrow file in any other way. pyarrow gets files that it opens itself: a
thread of its own that still has a file of Python when the process exits aborts it.
"""

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

ARROW_SCHEMA, HIDDEN = b"ARROW:schema", b"arrow:schema"  # of the same length, so that the footer stays valid
_MAGIC = b"PAR1"
_ENDING = 8  # bytes after the footer: its length and the magic
_USUAL_FOOTER = 2**16  # bytes read at first: one request for most files


def open_plain(file: pa.NativeFile, checked: bool = False, pre_buffer: bool = False) -> pq.ParquetFile:
    """Return a Parquet file whose columns have plain types only. `file` is for the caller to close.

    checked: what is read from it is held against its checksums. pre_buffer: few large requests for an object store.
    Raises OSError or pa.ArrowException if it cannot be read.
    """
    return pq.ParquetFile(
        file,
        metadata=_plain_metadata(file),
        pre_buffer=pre_buffer,
        page_checksum_verification=checked,
        arrow_extensions_enabled=False,
    )


def read_plain(file: pq.ParquetFile, schema: pa.Schema, row_groups: list[int] | None = None) -> pa.Table:
    """Return the columns of `schema`, of all or some row groups of an open file.

    Raises pa.ArrowInvalid as `plain`, before a value is read if a column is of another type.
    """
    _check_types(file.schema_arrow, schema)
    groups = range(file.num_row_groups) if row_groups is None else row_groups
    rows = file.read_row_groups(groups, schema.names, use_threads=False)
    if rows.num_rows != sum(file.metadata.row_group(group).num_rows for group in groups):
        raise pa.ArrowInvalid("it has other rows than its footer says")
    return plain(rows, schema)


def plain(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return the columns of `schema` of a table, which may have more.

    Raises pa.ArrowInvalid unless they are there, of its types, and hold values where they must, and text that is text.
    """
    _check_types(table.schema, schema)
    table = table.select(schema.names)
    for field in schema:
        column = table[field.name]
        values = pc.list_flatten(column) if pa.types.is_list(field.type) else column
        if not field.nullable and column.null_count + values.null_count:
            raise pa.ArrowInvalid(f"column {field.name} has rows without a value")
    table.validate(full=True)
    return table.cast(schema)


def complete(columns: Iterable[tuple[str, pa.DataType]]) -> pa.Schema:
    """Return a schema of columns that have a value in each row."""
    return pa.schema([pa.field(name, kind, nullable=False) for name, kind in columns])


def _check_types(found: pa.Schema, wanted: pa.Schema) -> None:
    """Raise pa.ArrowInvalid unless `found` has each column of `wanted` once, and of the same type."""
    for field in wanted:
        places = found.get_all_field_indices(field.name)
        if len(places) != 1:
            raise pa.ArrowInvalid(f"it has {len(places) or 'no'} column{'s' * bool(places)} {field.name}")
        if found.field(places[0]).type != field.type:
            raise pa.ArrowInvalid(f"column {field.name} holds {found.field(places[0]).type}, not {field.type}")


def metadata_of(file: pq.ParquetFile) -> dict[bytes, bytes]:
    """Return the notes that a file was written with."""
    return {key: value for key, value in (file.metadata.metadata or {}).items() if key != HIDDEN}


def _plain_metadata(file: pa.NativeFile) -> pq.FileMetaData:
    """Return the footer of a Parquet file, with the Arrow schema under a name that pyarrow does not know."""
    size = file.size()
    content = file.read_at(min(size, _USUAL_FOOTER), max(0, size - _USUAL_FOOTER))
    if len(content) < _ENDING or not content.endswith(_MAGIC):
        raise pa.ArrowInvalid("it is not a Parquet file, or not a whole one")
    length = int.from_bytes(content[-_ENDING:-4], "little") + _ENDING
    if length + len(_MAGIC) > size:
        raise pa.ArrowInvalid("it is not a whole Parquet file")
    if length > len(content):
        content = file.read_at(length, size - length)
    footer = content[-length:].replace(ARROW_SCHEMA, HIDDEN)
    try:
        return pq.read_metadata(pa.BufferReader(_MAGIC + footer))
    except UnicodeDecodeError as error:
        raise pa.ArrowInvalid("its footer holds text that is not UTF-8") from error
