"""A Parquet file from anywhere is columns of plain types: it runs no code, and what is wrong with it is one line."""

import ast
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray.data  # noqa: F401  # registers extension types of Arrow, one of which unpickles its values

import magray
from magray.errors import UserError
from magray.files.atomic import read_notes, read_table, write_table
from magray.films import films_of, plan_table
from magray.films.plan import PLAN_SCHEMA
from magray.store import STORE_SCHEMA, Store, create_store, export_pictures, open_store, rows_of, verify
from tests.support.stores import plan_of
from tests.support.stripes import striped_film, striped_store

PACKAGE = Path(magray.__file__).parent
BENCHMARKS = PACKAGE.parent / "benchmarks"
READERS = {
    "read_table",
    "read_metadata",
    "read_schema",
    "read_pandas",
    "ParquetFile",
    "ParquetDataset",
    "ParquetReader",
}
READERS |= {"dataset", "parquet_dataset", "FileSystemDataset", "ParquetFileFormat", "read_parquet", "read_feather"}
READERS |= {"open_file", "open_stream", "RecordBatchFileReader", "RecordBatchStreamReader", "PythonFile"}


class Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[Path]]:
        return Path.touch, (self.path,)


def plan_of_films(films: int) -> pa.Table:
    return plan_table([striped_film(seed)[0] for seed in range(films)], "stripes")


def with_pickles(table: pa.Table, column: str, mark: Path) -> pa.Table:
    """The table as a stranger would write it who knows the type that Ray Data gives Python's objects."""
    metadata = {"ARROW:extension:name": "ray.data.arrow_pickled_object", "ARROW:extension:metadata": ""}
    field = pa.field(column, pa.large_binary(), metadata=metadata)
    values = pa.array([pickle.dumps(Touch(mark))] * table.num_rows, pa.large_binary())
    return table.set_column(table.schema.get_field_index(column), field, values)


@pytest.fixture
def mark(tmp_path: Path) -> Iterator[Path]:
    """Return the path of a file that appears if something is unpickled. It must not exist at the end of a test."""
    path = tmp_path / "unpickled"
    yield path
    assert not path.exists()


@pytest.mark.parametrize("column", ["film_id", "Ms", "protocol"])
def test_a_plan_with_pickled_values_is_refused_and_nothing_is_unpickled(
    column: str, mark: Path, tmp_path: Path
) -> None:
    path = tmp_path / "plan.parquet"
    pq.write_table(with_pickles(plan_of_films(2), column, mark), path)
    with pytest.raises(UserError, match=f"^.*plan.parquet cannot be read: column {column} holds binary, not"):
        read_table(path, PLAN_SCHEMA)
    pq.read_table(path)[column].to_pylist()
    assert mark.exists(), "the file is harmless, so that the test shows nothing"
    mark.unlink()


@pytest.mark.parametrize("column", ["film_id", "Ms"])
def test_a_campaign_takes_no_table_with_pickled_values(column: str, mark: Path, tmp_path: Path) -> None:
    """A script may have read the plan in its own way. What refuses it comes before Ray starts."""
    path = tmp_path / "plan.parquet"
    pq.write_table(with_pickles(plan_of_films(2), column, mark), path)
    plan = pq.read_table(path)
    with pytest.raises(UserError, match=f"the plan is no table of films: column {column} holds extension<"):
        create_store(str(tmp_path / "store"), "stripes", plan)
    with pytest.raises(UserError, match="no table of films"):
        verify(striped_store(tmp_path / "films", 2), plan)


def test_rows_of_a_plan_with_one_more_column_never_look_at_it(mark: Path, tmp_path: Path) -> None:
    """As in a simulator, which gets the plan with whatever columns it has."""
    plan = plan_of_films(2)
    pq.write_table(with_pickles(plan.append_column("note", pa.array([""] * 2)), "note", mark), tmp_path / "plan")
    rows = pa.concat_tables(striped_store(tmp_path / "films", 2).batches(STORE_SCHEMA.names))
    assert sorted(film.film_id for film in films_of(pq.read_table(tmp_path / "plan"))) == sorted(
        rows["film_id"].to_pylist()
    )
    with pytest.raises(KeyError):  # none of the films was relaxed
        rows_of([], pq.read_table(tmp_path / "plan"))


@pytest.mark.parametrize("column", ["film_id", "D", "status"])
def test_a_store_with_pickled_values_is_refused_whoever_reads_it(column: str, mark: Path, tmp_path: Path) -> None:
    store = striped_store(tmp_path / "store", 2)
    path = Path(store.uri) / store.files()[0]
    plan, ids = plan_of(store), store.ids().to_pylist()
    pq.write_table(with_pickles(pq.read_table(path, schema=STORE_SCHEMA), column, mark), path)
    readings: list[Callable[[], object]] = [
        lambda: open_store(store.uri).table(),
        lambda: list(open_store(store.uri).batches(["film_id", column])),
        lambda: export_pictures(open_store(store.uri), tmp_path / "pictures"),
    ]
    if column != "D":
        readings.append(lambda: open_store(store.uri).images(ids))
    for read in readings:
        with pytest.raises(UserError, match=f"cannot be read: column {column} holds binary, not"):
            read()
    assert verify(open_store(store.uri), plan).foreign == [f"films-1/{path.name} has other columns than a store"]


class Spy(pa.ExtensionType):  # type: ignore[misc]  # pyarrow has no types
    """A type whose code runs as soon as pyarrow sees its name in a file's Arrow schema."""

    built = 0

    def __init__(self) -> None:
        super().__init__(pa.string(), "magray.spy")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, _storage: pa.DataType, _serialized: bytes) -> "Spy":
        cls.built += 1
        return cls()


def test_no_type_that_a_file_names_is_even_built(tmp_path: Path) -> None:
    """Some unpickle what describes the type, when a file is opened and before any value is read."""
    path, schema = tmp_path / "spied.parquet", pa.schema([("text", pa.string())])
    pa.register_extension_type(Spy())
    try:
        text = pa.ExtensionArray.from_storage(Spy(), pa.array(["a", "b"]))
        pq.write_table(pa.table({"text": text}).replace_schema_metadata({"note": "kept"}), path)
        Spy.built = 0
        assert read_table(path, schema).to_pydict() == {"text": ["a", "b"]}
        assert read_notes(path) == {b"note": b"kept"}
        assert Spy.built == 0
        pq.read_schema(path)
        assert Spy.built > 0, "pyarrow builds no such types, so that the test shows nothing"
    finally:
        pa.unregister_extension_type("magray.spy")


def readers_in(path: Path) -> set[str]:
    """The names of readers of Parquet and Arrow files that a module calls as attributes of something."""
    text = path.read_text(encoding="utf-8")
    nodes = ast.walk(ast.parse(text)) if any(f".{name}(" in text for name in READERS) else ()
    called = {node.func.attr for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)}
    return called & READERS


def test_nothing_but_one_module_reads_parquet_or_arrow_files() -> None:
    found = {path: readers_in(path) for folder in (PACKAGE, BENCHMARKS) for path in folder.rglob("*.py")}
    assert {path.relative_to(PACKAGE).as_posix(): names for path, names in found.items() if names} == {
        "files/parquet.py": {"ParquetFile", "read_metadata"}
    }


def test_pyarrow_gets_no_file_that_python_has_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread of pyarrow that lets go of one while Python ends aborts the process, 2 times out of 5 in a command."""
    read, sources = pq.ParquetFile, []

    def noting(source: object, **options: object) -> pq.ParquetFile:
        sources.append((type(source), options["pre_buffer"]))
        return read(source, **options)

    monkeypatch.setattr(pq, "ParquetFile", noting)
    write_table(plan_of_films(2), tmp_path / "plan.parquet")
    read_table(tmp_path / "plan.parquet", PLAN_SCHEMA)
    assert sources[-1] == (pa.OSFile, False)
    store = striped_store(tmp_path / "store", 2)
    assert store.count() == 2
    assert sources[-1] == (pa.NativeFile, False)


def test_types_of_other_writers_are_read_if_parquet_has_them_alike(tmp_path: Path) -> None:
    """pandas and Polars write text as large strings or dictionaries: a matter of their memory, not of the file."""
    plan = plan_of_films(3)
    others = plan.set_column(0, "film_id", plan["film_id"].dictionary_encode())
    others = others.set_column(1, "campaign", others["campaign"].cast(pa.large_string()))
    pq.write_table(others.append_column("note", pa.array([1, 2, 3])), tmp_path / "plan.parquet")
    assert read_table(tmp_path / "plan.parquet", PLAN_SCHEMA).equals(plan)


def altered(column: str, values: list[object], kind: pa.DataType) -> pa.Table:
    plan = plan_of_films(2)
    return plan.set_column(plan.schema.get_field_index(column), column, pa.array(values, kind))


def not_text() -> pa.Array:
    """Two strings whose bytes are no UTF-8."""
    valid, offsets, _ = pa.array(["ab", "cd"]).buffers()
    return pa.Array.from_buffers(pa.string(), 2, [valid, offsets, pa.py_buffer(b"\xff\xfe\xff\xfe")])


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (pa.table({"x": [1]}), "it has no column film_id"),
        (altered("Ms", ["1", "2"], pa.string()), "column Ms holds string, not double"),
        (altered("film_id", [1, 2], pa.int64()), "column film_id holds int64, not string"),
        (altered("D", [1e-3, None], pa.float64()), "column D has rows without a value"),
        (plan_of_films(2).set_column(2, "split", not_text()), "Invalid UTF8"),
        (plan_of_films(2).append_column("D", pa.array([0.0, 0.0])), "it has 2 columns D"),
    ],
)
def test_a_plan_of_another_kind_is_refused_by_what_is_wrong(table: pa.Table, words: str, tmp_path: Path) -> None:
    pq.write_table(table, tmp_path / "plan.parquet")
    with pytest.raises(UserError, match=rf"plan\.parquet cannot be read: .*{words}.*; move it away and make it again$"):
        read_table(tmp_path / "plan.parquet", PLAN_SCHEMA)


def test_a_plan_cut_anywhere_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "plan.parquet"
    write_table(plan_of_films(2), path)
    whole_plan = path.read_bytes()
    cut = [whole_plan[:length] for length in (0, 3, 4, 8, 12, len(whole_plan) // 2, len(whole_plan) - 1)]
    cut += [whole_plan.replace(b"film_id", b"film_i\xff")]  # names that are no text
    cut += [whole_plan[:-8] + length.to_bytes(4, "little") + b"PAR1" for length in (0, 7, 2**31, 2**32 - 1)]
    for content in cut:
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"^[^\n]*cannot be read[^\n]*$"):
            read_table(path, PLAN_SCHEMA)


def test_a_film_of_no_known_protocol_is_refused() -> None:
    for text in ("", "{", "[]", "1", "[" * 100_000, '{"initial": "random", "stages": [{"boil": {}}]}'):
        plan = plan_of_films(1).set_column(PLAN_SCHEMA.names.index("protocol"), "protocol", pa.array([text]))
        with pytest.raises(UserError, match=r"protocol: .* is none; take it from a plan"):
            films_of(plan)


def test_stores_read_through_the_same_door(tmp_path: Path) -> None:
    """Tables of a store have its schema with units, although the Arrow schema in the file is ignored."""
    store: Store = striped_store(tmp_path / "store", 2)
    assert store.table(["D", "energy_total"]).schema.field("D").metadata == {b"unit": b"J/m2"}
    assert next(store.batches(STORE_SCHEMA.names)).schema.equals(STORE_SCHEMA, check_metadata=True)
