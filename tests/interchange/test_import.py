"""Films of mumax3 and Ubermag in a store: what their folders tell, and what they leave open."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from magray.cli.app import app
from magray.errors import UserError
from magray.estimator.metadata import Calibration, EstimatorMetadata, Target
from magray.films.origin import Origin, protocol_or_origin
from magray.interchange import Imported, Known, import_films
from magray.interchange.films import _rows
from magray.store import STORE_SCHEMA, Store, create_store, open_store, verify
from magray.store.rows import pixels
from magray.units import MU0
from tests.support.foreign_films import LOG, MIF, mumax3_output, state, ubermag_drive
from tests.support.stripes import striped_store

TOLD = {"Ms": 580e3, "Ku1": 0.8e6, "Aex": 15e-12, "D": 3e-3, "dmi": "interfacial", "dz": 2e-9, "open_edges": "none"}


def imported(store: Path, *folders: Path, told: Known | None = None) -> Imported:
    return import_films(str(store), folders, "imported", told or Known(), print)


def only_film(store: Path) -> dict[str, object]:
    (row,) = open_store(store).table().to_pylist()
    return dict(row)


@pytest.mark.parametrize(("write", "program"), [(mumax3_output, "mumax3"), (ubermag_drive, "Ubermag")])
def test_a_folder_is_a_film_in_its_last_state(tmp_path: Path, write: Callable[[Path], Path], program: str) -> None:
    write(tmp_path / "films" / "one")
    assert imported(tmp_path / "store", tmp_path / "films") == Imported(1, 1)
    film = only_film(tmp_path / "store")
    assert {name: film[name] for name in TOLD} == pytest.approx(TOLD)
    assert film["Hz"] == pytest.approx(0.02 / MU0)
    assert film["demag"] is True
    assert (film["nx"], film["ny"], film["pixel_nm"], film["status"]) == (64, 64, 4.0, "converged")
    assert protocol_or_origin(str(film["protocol"])) == Origin(program)
    picture = open_store(tmp_path / "store").images([str(film["film_id"])])[0]
    np.testing.assert_array_equal(picture, pixels(state(0)[0, ..., 2]))


def test_an_id_is_of_the_content(tmp_path: Path) -> None:
    """The same film twice is one film, wherever it lies; another picture or another constant is another film."""
    mumax3_output(tmp_path / "here" / "a")
    mumax3_output(tmp_path / "there" / "b")
    mumax3_output(tmp_path / "there" / "c", seed=1)
    mumax3_output(tmp_path / "there" / "d", log=LOG.replace("580e3", "590e3"))
    assert imported(tmp_path / "store", tmp_path / "here") == Imported(1, 1)
    assert imported(tmp_path / "store", tmp_path / "here", tmp_path / "there") == Imported(3, 2)
    assert imported(tmp_path / "store", tmp_path / "there") == Imported(3, 0)
    assert verify(open_store(tmp_path / "store")).lines == ["3 of 3 films are committed"]


def test_verify_finds_an_imported_film_that_was_changed(tmp_path: Path) -> None:
    mumax3_output(tmp_path / "film")
    imported(tmp_path / "store", tmp_path / "film")
    whole = open_store(tmp_path / "store")
    row = pa.concat_tables(whole.batches(STORE_SCHEMA.names)).to_pylist()[0]
    for change in ({"Ms": 1e6}, {"image": bytes(64 * 64)}, {"split": "test" if row["split"] == "train" else "train"}):
        changed = pa.Table.from_pylist([row | change], STORE_SCHEMA)
        folder = tmp_path / str(next(iter(change)))
        store: Store = create_store(str(folder), "imported", changed.select(whole.schema.names[:23]))
        store.commit(changed)
        assert any("has other inputs than its id stands for" in line for line in verify(store).lines)


def test_the_tables_last_row_counts_before_the_script(tmp_path: Path) -> None:
    """A script that sweeps a constant ends with the table's last value."""
    script = LOG.replace("B_ext = vector(0, 0, 0.02)", "B_ext = vector(0, 0, b)").replace("580e3", "ms")
    head = "# t (s)\tmx ()\tB_extx (T)\tB_exty (T)\tB_extz (T)\tMsat (A/m)\n"
    mumax3_output(tmp_path / "film", log=script, table=head + "0\t0\t0\t0\t0.5\t1e6\n1e-9\t0\t0\t0\t0.01\t600000\n")
    imported(tmp_path / "store", tmp_path / "film")
    film = only_film(tmp_path / "store")
    assert (film["Ms"], film["Hz"], film["Aex"]) == (600e3, pytest.approx(0.01 / MU0), 15e-12)


def test_what_is_told_counts_before_what_the_folder_tells(tmp_path: Path) -> None:
    mumax3_output(tmp_path / "film")
    imported(tmp_path / "store", tmp_path / "film", told=Known(Ms=1e6))
    assert (only_film(tmp_path / "store")["Ms"], only_film(tmp_path / "store")["Aex"]) == (1e6, 15e-12)


@pytest.mark.parametrize(
    ("log", "complaint"),
    [
        (LOG.replace("580e3", "ms * 1e3"), "does not tell Ms as plain numbers; give --Ms"),
        (LOG + "Msat.SetRegion(1, 1e6)\n", "does not tell Ms as plain numbers; give --Ms"),
        (None, "does not tell Ms, Ku1, Aex, D, dmi, field as plain numbers; give --Ms --Ku1"),
        (LOG.replace("B_ext = vector(0, 0, 0.02)", "B_ext = vector(0, 0, b)"), "does not tell field"),
        (LOG + "Dbulk = 1e-3\n", "both Dind and Dbulk are set"),
        (LOG.replace("vector(0, 0, 1)", "vector(1, 0, 0)"), "AnisU is not along z"),
        (LOG.replace("580e3", "580e13"), "Ms must lie between"),
    ],
)
def test_what_mumax3_does_not_tell_is_asked_for(tmp_path: Path, log: str | None, complaint: str) -> None:
    mumax3_output(tmp_path / "film", log=log)
    with pytest.raises(UserError, match=complaint) as error:
        imported(tmp_path / "store", tmp_path / "film")
    assert str(tmp_path / "film") in str(error.value)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("mif", "complaint"),
    [
        (MIF.replace("main main 0.003", "main main 0.004"), "does not tell D as plain numbers"),
        (MIF.replace("Oxs_UniformExchange", "Oxs_ExchangePtwise"), "does not tell Aex"),
        (MIF.replace("K1 800000.0", "K1 ua_K_norm"), "does not tell Ku1"),
        (MIF.replace("{0 0 15915.494309189535}", "zeeman_H"), "does not tell field"),
        (MIF.replace("axis {0 0 1}", "axis {1 0 0}"), "the anisotropy is not along z"),
        (MIF.replace("DMI_Cnv", "DMI_D2d"), "does not tell D, dmi"),
    ],
)
def test_what_ubermag_does_not_tell_is_asked_for(tmp_path: Path, mif: str, complaint: str) -> None:
    ubermag_drive(tmp_path / "drive-0", mif=mif)
    with pytest.raises(UserError, match=complaint):
        imported(tmp_path / "store", tmp_path / "drive-0")


def test_the_command_reads_options_and_refuses_strangers(tmp_path: Path) -> None:
    mumax3_output(tmp_path / "film", log=None)

    def answer(*words: str) -> str:
        result = CliRunner().invoke(app, ["store", "import", str(tmp_path / "store"), *words])
        return result.output or str(result.exception)

    told = ["--Ms", "580 kA/m", "--Ku1", "0.8 MJ/m3", "--Aex", "15 pJ/m", "--D", "3 mJ/m2", "--dmi", "interfacial"]
    assert "1 films read, 1 of them new" in answer(str(tmp_path / "film"), *told, "--field", "0 T, 0 T, 20 mT")
    assert "give three quantities" in answer(str(tmp_path / "film"), *told, "--field", "20 mT")
    (tmp_path / "empty").mkdir()
    assert "holds no magnetisation" in answer(str(tmp_path / "empty"))
    (tmp_path / "film" / "m000012.ovf").write_bytes((tmp_path / "film" / "m000012.ovf").read_bytes()[:5000])
    assert "parts of the field are missing" in answer(str(tmp_path / "film"), *told)


def film_or_line(folder: Path) -> bool:
    """Return whether a folder is a film, or is refused in one line."""
    try:
        return len(list(_rows(folder, "imported", Known()))) == 1
    except UserError as error:
        return "\n" not in str(error)


WRITERS: list[Callable[[Path], Path]] = [mumax3_output, ubermag_drive]
JUNK = [b"", b"\0", b"nan", b"inf", b"1e999", b"-" * 9, b"[" * 9999, b"9" * 5000, b"{}"]


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_damaged_folders_are_films_or_one_line(data: st.DataObject) -> None:
    with TemporaryDirectory() as place:
        folder = data.draw(st.sampled_from(WRITERS))(Path(place) / "film")
        path = data.draw(st.sampled_from(sorted(folder.iterdir())))
        content = path.read_bytes()
        start = data.draw(st.integers(0, min(len(content), 2000)))
        end = start + data.draw(st.sampled_from([0, 1, 50, len(content)]))
        path.write_bytes(content[:start] + data.draw(st.sampled_from(JUNK)) + content[end:])
        assert film_or_line(folder)


def test_an_estimator_says_which_program_made_its_films() -> None:
    calibration = Calibration((0.25,), {"D": (0.1e-3,)}, 10)
    target = Target("D", "J/m2", 0.5e-3, 0.2e-3, 0.1e-3, 1e-3)
    metadata = EstimatorMetadata((target,), (0.25,), 50, calibration, {}, protocols=(Origin("mumax3").to_json(),))
    assert metadata.films.endswith("; made by mumax3")


@pytest.mark.parametrize("text", ['{"origin":3}', '{"origin":"x","stages":[]}', '{"origin":', "{}"])
def test_a_damaged_origin_is_one_line(text: str) -> None:
    with pytest.raises(UserError, match="is none; take it from a plan"):
        protocol_or_origin(text)


def test_films_of_a_campaign_stay_by_themselves(tmp_path: Path) -> None:
    striped_store(tmp_path / "store", 2)
    mumax3_output(tmp_path / "film")
    with pytest.raises(UserError, match="holds films of a campaign; import into a store of its own"):
        imported(tmp_path / "store", tmp_path / "film")
