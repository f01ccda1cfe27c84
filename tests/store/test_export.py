"""Exports of a store for other programs are exact, and complete or absent."""

import errno
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from PIL import Image

from magray.errors import UserError
from magray.store import STORE_SCHEMA, Store, create_store, export_pictures
from magray.store.export import pictures as exporting
from tests.support.stores import plan_of, scattered_store

FILMS = 6


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Five pictures in three files, and a film that failed."""
    whole = scattered_store(tmp_path_factory.mktemp("export") / "whole", FILMS, FILMS)
    rows = pa.concat_tables(whole.batches(STORE_SCHEMA.names)).to_pylist()
    rows[4] |= {"status": "failed", "image": None, "reason": "overflow"}
    store = create_store(str(tmp_path_factory.mktemp("export") / "store"), "stripes", plan_of(whole))
    for first in range(0, FILMS, 2):
        store.commit(pa.Table.from_pylist(rows[first : first + 2], schema=STORE_SCHEMA))
    return store


def pictures_of(store: Store) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    for row in pa.concat_tables(store.batches(["film_id", "image", "height", "width"])).to_pylist():
        if row["image"] is not None:
            yield row["film_id"], np.frombuffer(row["image"], np.uint8).reshape(row["height"], row["width"])


def test_png_is_a_grey_picture_a_film_and_the_scalars_of_all(store: Store, tmp_path: Path) -> None:
    assert export_pictures(store, tmp_path / "pictures") == FILMS - 1
    assert len(list((tmp_path / "pictures").glob("*.png"))) == FILMS - 1
    for film_id, expected in pictures_of(store):
        with Image.open(tmp_path / "pictures" / f"{film_id}.png") as picture:
            assert picture.mode == "L"
            np.testing.assert_array_equal(np.asarray(picture), expected)
    table = pd.read_csv(tmp_path / "pictures" / "films.csv", dtype={"film_id": str}, keep_default_na=False)
    want = store.table().to_pandas()
    assert table["film_id"].tolist() == want["film_id"].tolist()
    assert table["reason"].tolist() == want["reason"].tolist()
    np.testing.assert_array_equal(table["D"], want["D"])


def test_many_pictures_are_spread_over_folders(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "FOLDER_FILES", 2)
    export_pictures(store, tmp_path / "pictures")
    for film_id, _ in pictures_of(store):
        assert (tmp_path / "pictures" / film_id[0] / f"{film_id}.png").exists()


@pytest.mark.parametrize(("films", "digits"), [(10_000, 0), (10_001, 1), (80_000, 1), (80_001, 2), (1_000_000, 2)])
def test_a_folder_has_ten_thousand_pictures_or_fewer(films: int, digits: int) -> None:
    assert exporting._digits(films) == digits


def test_discretisedfield_opens_ovf(store: Store, tmp_path: Path) -> None:
    """Where it is installed: it brings 100 packages, so that CI is without it."""
    discretisedfield = pytest.importorskip("discretisedfield")
    export_pictures(store, tmp_path / "fields", "ovf")
    for film_id, expected in pictures_of(store):
        field = discretisedfield.Field.from_file(str(tmp_path / "fields" / f"{film_id}.ovf"))
        assert (tuple(field.mesh.n), field.nvdim) == ((64, 64, 1), 1)
        assert tuple(field.mesh.cell) == pytest.approx((4e-9, 4e-9, 4e-9))
        np.testing.assert_allclose(field.array[:, :, 0, 0].T, expected / 127.5 - 1, atol=1e-6)  # x comes first there


def test_vtk_is_mz_on_the_cells_of_the_film(store: Store, tmp_path: Path) -> None:
    export_pictures(store, tmp_path / "fields", "vtk")
    for film_id, expected in pictures_of(store):
        content = (tmp_path / "fields" / f"{film_id}.vtk").read_bytes()
        head, values = content.split(b"LOOKUP_TABLE default\n")
        assert head.decode().splitlines() == [
            "# vtk DataFile Version 3.0",
            "mz, rounded to 1/127.5",
            "BINARY",
            "DATASET STRUCTURED_POINTS",
            "DIMENSIONS 65 65 2",
            "ORIGIN 0 0 0",
            "SPACING 4e-09 4e-09 4e-09",
            "CELL_DATA 4096",
            "SCALARS mz float 1",
        ]
        assert values[-1:] == b"\n"
        np.testing.assert_allclose(np.frombuffer(values[:-1], ">f4"), expected.ravel() / 127.5 - 1, atol=1e-6)


def test_vtk_opens_vtk(store: Store, tmp_path: Path) -> None:
    """Where the real one is installed, as by magray[peers]."""
    pytest.importorskip("vtk")
    from vtkmodules.util.numpy_support import vtk_to_numpy
    from vtkmodules.vtkIOLegacy import vtkStructuredPointsReader

    export_pictures(store, tmp_path / "fields", "vtk")
    film_id, expected = next(pictures_of(store))
    reader = vtkStructuredPointsReader()
    reader.SetFileName(str(tmp_path / "fields" / f"{film_id}.vtk"))
    reader.Update()
    image = reader.GetOutput()
    assert (image.GetDimensions(), image.GetSpacing()) == ((65, 65, 2), pytest.approx((4e-9, 4e-9, 4e-9)))
    values = vtk_to_numpy(image.GetCellData().GetScalars("mz"))
    np.testing.assert_allclose(values, expected.ravel() / 127.5 - 1, atol=1e-6)


def test_ovf_is_mz_on_the_cells_of_the_film(store: Store, tmp_path: Path) -> None:
    export_pictures(store, tmp_path / "fields", "ovf")
    for film_id, expected in pictures_of(store):
        content = (tmp_path / "fields" / f"{film_id}.ovf").read_bytes()
        head, rest = content.split(b"# Begin: Data Binary 4\n")
        lines = head.decode().splitlines()
        assert lines[0] == "# OOMMF OVF 2.0"
        header = dict(line.removeprefix("# ").split(": ", 1) for line in lines[1:])
        assert (header["valuedim"], header["xnodes"], header["ynodes"], header["znodes"]) == ("1", "64", "64", "1")
        assert float(header["xstepsize"]) == 4e-9
        assert float(header["xmax"]) == pytest.approx(64 * 4e-9)
        values = np.frombuffer(rest[: 4 * (1 + expected.size)], "<f4")
        assert rest[4 * (1 + expected.size) :] == b"\n# End: Data Binary 4\n# End: Segment\n"
        assert values[0] == 1234567.0
        np.testing.assert_allclose(values[1:].reshape(expected.shape), expected / 127.5 - 1, atol=1e-6)


def test_hf_is_what_datasets_takes_for_pictures(store: Store, tmp_path: Path) -> None:
    """A struct of bytes and path that the metadata `huggingface` calls an Image, in files named by split."""
    assert export_pictures(store, tmp_path / "dataset", "hf") == FILMS - 1
    files = sorted((tmp_path / "dataset" / "data").iterdir())
    schema = pq.read_schema(files[0])
    features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    assert list(features) == schema.names
    assert features["image"] == {"_type": "Image"}
    assert features["D"] == {"dtype": "float64", "_type": "Value"}
    assert (features["demag"]["dtype"], features["nx"]["dtype"], features["seed"]["dtype"]) == (
        "bool",
        "int32",
        "int64",
    )
    expected, found = dict(pictures_of(store)), 0
    for path in files:
        for row in pq.read_table(path).to_pylist():
            assert path.name.startswith(row["split"])
            found += 1
            if row["image"] is None:
                assert row["reason"] == "overflow"
            else:
                (tmp_path / "picture.png").write_bytes(row["image"]["bytes"])
                with Image.open(tmp_path / "picture.png") as picture:
                    np.testing.assert_array_equal(np.asarray(picture), expected[row["film_id"]])
    assert found == FILMS


def test_hf_begins_another_file_when_one_is_large(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("magray.store.export.hugging_face.FILE_BYTES", 0)
    export_pictures(store, tmp_path / "dataset", "hf")
    files = sorted((tmp_path / "dataset" / "data").iterdir())
    assert len(files) > 2
    ids = [film_id for path in files for film_id in pq.read_table(path)["film_id"].to_pylist()]
    assert sorted(ids) == sorted(store.ids().to_pylist())


def test_an_export_goes_to_a_new_folder_only(store: Store, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("dear reader")
    with pytest.raises(UserError, match="is not empty"):
        export_pictures(store, tmp_path)
    with pytest.raises(UserError, match="is not empty"):
        export_pictures(store, tmp_path / "thesis.tex")
    with pytest.raises(UserError, match="cannot write to"):
        export_pictures(store, tmp_path / "thesis.tex" / "pictures")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("format_", ["png", "ovf", "vtk", "hf"])
def test_a_disk_that_fills_up_leaves_nothing(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format_: exporting.ExportFormat
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    monkeypatch.setattr(pq.ParquetWriter, "write_table", full)
    with pytest.raises(OSError, match="No space left"):
        export_pictures(store, tmp_path / "pictures", format_)
    assert list(tmp_path.iterdir()) == []
