"""Test the command line: results and exit code 0, or one line on stderr and exit code 2."""

import errno
import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tifffile
from typer.testing import CliRunner

from magray._version import __version__
from magray.cli import app as cli
from magray.config import load_config, load_films
from magray.estimator.estimator import Estimator
from magray.estimator.metadata import Calibration, EstimatorMetadata, Target
from magray.estimator.weights import save_weights
from magray.films import plan_table, sample
from magray.imaging import read_picture, write_picture
from magray.micromagnetics import relax
from magray.network.any_film import AnyFilmNetwork, AnyFilmSettings
from magray.network.branches import paper_cnn
from magray.store import create_store, rows_of
from magray.store.location import Location
from tests.support.stripes import labyrinth

CONFIG = Path(__file__).parents[2] / "configs" / "quickstart.yaml"
PLANNER = """
import sys
import pyarrow.parquet as pq
from magray.config import load_config, load_films
from magray.project.stages import Project
own, config, *overrides = sys.argv[1:]
for _ in range(20):
    for batch in (int(own), 64):  # so that no plan is made from the config of the next
        project = Project(load_config(config, [*overrides, f"fit.batch={batch}"]))
        project.plan()
        assert pq.read_table(project.folder / "plan.parquet").num_rows == 4
"""
HEAVY = ("ray", "torch", "numpy", "pyarrow", "matplotlib", "pydantic", "scipy", "numba")


class Said(NamedTuple):
    """Exit code, standard output, and standard error of a command."""

    code: int
    out: str
    err: str


Magray = Callable[..., Said]


@pytest.fixture
def magray(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Magray:
    """Run the command line in this process."""

    def run(*arguments: str | Path) -> Said:
        monkeypatch.setattr(sys, "argv", ["magray", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        code = stopped.value.code
        return Said(code if isinstance(code, int) else 0, *capsys.readouterr())

    return run


@pytest.fixture
def small(tmp_path: Path) -> list[str]:
    """Return the options of a campaign of four small films in a new folder."""
    settings = [f"output={tmp_path / 'run'}", "campaign.films=4", "campaign.cells=[128, 128]"]
    settings += ["fit.train_scales=['0.25+0.5']", "study.test_scales=[0.25, 0.5]"]
    return [word for setting in settings for word in ("--set", setting)]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a store of two tiny films."""
    config = load_config(CONFIG, ["campaign.films=2", "campaign.cells=[16, 16]"])
    films = sample(config.campaign.sampling())
    plan = plan_table(films, config.name)
    folder = tmp_path_factory.mktemp("cli") / "store"
    create_store(str(folder), config.name, plan).commit(rows_of(relax(films), plan))
    return folder


@pytest.fixture(scope="module")
def estimator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of an untrained estimator."""
    folder = tmp_path_factory.mktemp("estimator")
    calibration = Calibration((0.25, 1.0), {"D": (0.1e-3, 0.2e-3)}, 10)
    target = Target("D", "J/m2", 0.5e-3, 0.2e-3, 0.1e-3, 1e-3)
    Estimator(paper_cnn(1), EstimatorMetadata((target,), (0.25, 1.0), 50, calibration, {})).save(folder)
    return folder


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """Return a picture of a labyrinth with 256 × 256 pixels."""
    write_picture(tmp_path / "film.png", np.rint(127.5 * (1 + labyrinth())).astype(np.uint8))
    return tmp_path / "film.png"


def refuses(said: Said, *words: str) -> None:
    """Check for one line on stderr with these words, nothing on stdout, and exit code 2."""
    assert said.code == 2
    assert said.out == ""
    assert said.err.startswith("magray: ")
    assert said.err.count("\n") == 1
    for word in words:
        assert word in said.err


def test_help_imports_nothing_heavy() -> None:
    """Otherwise it would take seconds."""
    program = f"""
import sys
from magray.cli.app import main
try:
    main()
finally:
    print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", program, "--help"], check=True, capture_output=True, text=True)
    assert "Usage: " in done.stdout
    assert done.stderr == "[]\n"


def test_every_command_explains_itself(magray: Magray) -> None:
    names = ["init", "schema", "plan", "simulate", "fit", "study", "report", "estimate", "doctor", "quickstart"]
    names += ["paper", "search", "protocols", "picture"]
    of_stores = ["ls", "show", "verify", "export", "compact"]
    for words in [[name] for name in names] + [["store", name] for name in of_stores]:
        said = magray(*words, "--help")
        assert said.code == 0
        assert "Usage: " in said.out


def test_a_plan_is_written_once(magray: Magray, small: list[str], tmp_path: Path) -> None:
    said = magray("plan", CONFIG, *small)
    assert said.code == 0
    assert "4 films planned" in said.out
    plan = pq.read_table(tmp_path / "run" / "plan.parquet")
    assert plan.num_rows == 4
    assert b"quickstart" in plan.schema.metadata[b"magray.config"]
    assert "done before" in magray("plan", CONFIG, *small).out


def test_a_plan_may_grow(magray: Magray, small: list[str], tmp_path: Path) -> None:
    magray("plan", CONFIG, *small)
    assert magray("plan", CONFIG, *small, "--set", "campaign.films=6").code == 0
    assert pq.read_table(tmp_path / "run" / "plan.parquet").num_rows == 6


def test_the_films_of_a_design_are_planned_but_fitted_by_no_project(magray: Magray, tmp_path: Path) -> None:
    design = CONFIG.parent / "any-film" / "films-256.yaml"
    few = ["--set", "design.films=8", "--set", f"output={tmp_path / 'run'}"]
    assert "8 films planned" in magray("plan", design, *few).out
    assert (tmp_path / "run" / "plan.parquet").exists()
    for command in ("fit", "study", "report"):
        refuses(magray(command, design, *few), "films-256.yaml", "this needs a campaign")
    refuses(magray("plan", design, *few, "--set", "campaign={}"), "either campaign or design")


def test_processes_that_plan_the_same_films_at_once_find_a_plan_at_any_moment(small: list[str], tmp_path: Path) -> None:
    """As when a campaign is submitted twice."""
    overrides = [word for word in small if word != "--set"]
    planners = [
        subprocess.Popen([sys.executable, "-c", PLANNER, own, str(CONFIG), *overrides], stderr=subprocess.PIPE)
        for own in ("32", "33", "34")
    ]
    for planner in planners:
        said = planner.communicate(timeout=60)[1]
        assert planner.returncode == 0, said.decode()
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["plan.parquet", "summary.json"]


def test_a_folder_with_the_plan_of_other_films_is_left_alone(magray: Magray, small: list[str], tmp_path: Path) -> None:
    magray("plan", CONFIG, *small)
    before = (tmp_path / "run" / "plan.parquet").read_bytes()
    refuses(magray("plan", CONFIG, *small, "--set", "campaign.seed=1"), "plans other films")
    assert (tmp_path / "run" / "plan.parquet").read_bytes() == before


@pytest.mark.parametrize("damaged", [b"", b"PAR1", b"no plan at all"])
def test_a_damaged_plan_is_left_for_its_owner(magray: Magray, small: list[str], tmp_path: Path, damaged: bytes) -> None:
    path = tmp_path / "run" / "plan.parquet"
    path.parent.mkdir()
    path.write_bytes(damaged)
    for command in ("plan", "simulate"):
        refuses(magray(command, CONFIG, *small), f"{path} cannot be read", "move it away")
    assert path.read_bytes() == damaged
    path.unlink()
    assert magray("plan", CONFIG, *small).code == 0
    path.write_bytes(damaged)  # under a summary that says that the plan is made
    refuses(magray("plan", CONFIG, *small), f"{path} cannot be read", "move it away")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("campaign.Msat=1500 kA/m", "unknown key campaign.Msat; did you mean Ms?"),
        ("campaign.Ms=1500 pJ/m", "accepted: A/m, kA/m, MA/m"),
        ("campaign.Ms=1500", "has no unit"),
        ("campaign.Ms=-1500 kA/m", "Ms must be above 0"),
        ("campaign.cells=[127, 128]", "127 is not an even number"),
        ("campaign.cells=[1000000, 128]", "1000000 is not an even number"),
        ("study.test_scales=[0.01]", "0.01 µm"),
        ("study.test_scales=[2.0]", "2 µm is 512 cells, and the films have 128"),
    ],
)
def test_a_mistake_in_the_config_leaves_nothing_behind(
    magray: Magray, small: list[str], tmp_path: Path, change: str, words: str
) -> None:
    for command in ("plan", "simulate"):
        refuses(magray(command, CONFIG, *small, "--set", change), words)
    assert not (tmp_path / "run").exists()


def test_a_config_that_is_not_there_is_named(magray: Magray) -> None:
    refuses(magray("plan", "no.yaml"), "no.yaml: cannot read")
    refuses(magray("quickstart", "--config", "no.yaml"), "no.yaml: cannot read")


def test_a_D_beyond_the_critical_value_is_allowed_with_a_warning(magray: Magray, small: list[str]) -> None:
    said = magray("plan", CONFIG, *small, "--set", "campaign.D=6 mJ/m2")
    assert said.code == 0
    assert "warning: 4 films have a D beyond the critical value" in said.out


def test_a_store_that_holds_another_plan_is_left_alone(magray: Magray, small: list[str], store: Path) -> None:
    before = {path: path.read_bytes() for path in store.rglob("*") if path.is_file()}
    refuses(magray("simulate", CONFIG, *small, "--set", f"simulate.store={store}"), "holds another plan")
    assert {path: path.read_bytes() for path in store.rglob("*") if path.is_file()} == before


def test_a_store_without_room_is_refused_before_work_starts(
    magray: Magray, small: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Location, "free_bytes", lambda _: 1000)
    refuses(magray("simulate", CONFIG, *small), "no room for the store", "free some space")
    assert not list((tmp_path / "run").rglob("films-*"))


def test_a_full_disk_leaves_no_half_of_a_file(
    magray: Magray, small: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: object, file: pa.OSFile, **__: object) -> None:
        file.write(b"PAR1")
        raise OSError(errno.ENOSPC, "No space left on device", "plan.parquet")

    monkeypatch.setattr(pq, "write_table", full)
    refuses(magray("plan", CONFIG, *small), "no room left on the disk")
    assert not list((tmp_path / "run").iterdir())


def test_stages_before_which_others_must_run_say_so(magray: Magray, small: list[str]) -> None:
    for command in ("fit", "study", "report"):
        refuses(magray(command, CONFIG, *small), "magray")


def test_estimate_answers_for_a_picture(magray: Magray, estimator: Path, picture: Path) -> None:
    said = magray("estimate", picture, "--estimator", estimator, "--scale-um", "1.0")
    assert said.code == 0
    assert re.match(r"D = -?[\d.e-]+ ± [\d.]+ mJ/m²\ntrained on 50 films, .*\n$", said.out)
    assert magray("estimate", picture, "--estimator", estimator, "--pixel-nm", "4").out == said.out


def test_estimate_takes_several_pictures_of_a_film(magray: Magray, picture: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.png"
    write_picture(other, np.rot90(read_picture(picture) * 255).astype(np.uint8)[:200, :200])
    command = ("estimate", picture, other, "--estimator", "co-like")
    assert magray(*command, "--scale-um", "0.5").code == 0
    refuses(magray(*command, "--pixel-nm", "4"), "squares of different sizes")
    refuses(magray(*command, tmp_path / "third.png", "--scale-um", "0.5"), "third.png")


def test_estimate_knows_estimators_that_come_with_magray(magray: Magray, picture: Path) -> None:
    said = magray("estimate", picture, "--estimator", "co-like", "--scale-um", "1.0")
    assert said.code == 0
    assert "trained on 7,604 films, seen as they are: Ms 1500 kA/m" in said.out


def test_estimate_warns_beyond_the_scales_it_was_tested_at(magray: Magray, estimator: Path, picture: Path) -> None:
    said = magray("estimate", picture, "--estimator", estimator, "--scale-um", "5")
    assert said.code == 0
    assert "warning: " in said.err
    assert "trained on 0.25, 1 µm" in said.err


def test_estimate_refuses_a_picture_without_domains_unless_forced(magray: Magray, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (256, 256), np.uint8)
    write_picture(tmp_path / "noise.png", noise)
    command = ("estimate", tmp_path / "noise.png", "--estimator", "co-like", "--scale-um", "1.0")
    said = magray(*command)
    assert (said.code, said.out) == (3, "")
    assert said.err.startswith("magray: the picture does not look like domains")
    assert said.err.count("\n") == 1
    forced = magray(*command, "--force")
    assert forced.code == 0
    assert forced.out.startswith("D = ")
    assert "does not look like domains" in forced.err


@pytest.fixture(scope="session")
def any_film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of an untrained estimator of any film."""
    settings, folder = AnyFilmSettings(0.25, 2, 16, 16), tmp_path_factory.mktemp("any-film")
    save_weights(AnyFilmNetwork(settings), folder / "network.safetensors")
    trained = {"Q1": (0.02, 4.0), "tau": (0.02, 10.0), "delta": (0.2, 20.0), "d": (0.0, 0.97)}
    described = {"kind": "any-film", "format": 1, "settings": asdict(settings), "trained": trained, "calibration": {}}
    (folder / "estimator.json").write_text(json.dumps(described))
    return folder


TOLD = ("--Ms", "1.2 +- 0.05 MA/m", "--Keff", "0.25 MJ/m3", "--thickness", "6 nm ± 5 %", "--pixel-nm", "2")


def test_estimate_is_told_what_is_known_of_a_film(magray: Magray, any_film: Path, picture: Path) -> None:
    command = ("estimate", picture, "--estimator", any_film, *TOLD, "--force")
    said = magray(*command)
    assert said.code == 0
    assert re.match(r"\|D\| = .* mJ/m²   95 %: .*\nAex = .* pJ/m", said.out)
    record = json.loads(magray(*command, "--json").out)
    assert set(record["parameters"]) == {"D", "Aex"}
    assert set(record["budget"]["D"]) == {"picture", "Ms", "thickness"}


@pytest.mark.parametrize(
    ("told", "word"),
    [
        (("--Ms", "1.2"), "Ms: 1.2 has no unit"),
        (("--Ms", "1.2 ± -0.1 MA/m"), "negative"),
        (("--Ms", "1.5 MA/m", "--Ku1", "1 MJ/m3"), "lies in the plane"),
        (("--thickness", "6 um"), "was 6 nm meant?"),
        (("--dmi", "both"), "choose one of interfacial, bulk"),
        (("--Aex", "20..10 pJ/m"), "smaller end first"),
    ],
)
def test_estimate_says_what_is_wrong_with_a_constant(
    magray: Magray, any_film: Path, picture: Path, told: tuple[str, ...], word: str
) -> None:
    refuses(magray("estimate", picture, "--estimator", any_film, "--pixel-nm", "2", *told), word)


def test_an_estimator_of_one_material_takes_no_constants(magray: Magray, picture: Path) -> None:
    refuses(magray("estimate", picture, "--estimator", "co-like", *TOLD), "--Ms is for the estimator any-film")
    refuses(
        magray("estimate", picture, "--estimator", "co-like", "--pixel-nm", "4", "--resimulate"),
        "--resimulate is for the estimator any-film",
    )


def test_estimate_prints_json_of_every_estimator(magray: Magray, picture: Path) -> None:
    said = magray("estimate", picture, "--estimator", "co-like", "--scale-um", "1.0", "--json")
    record = json.loads(said.out)
    assert record["parameters"]["D"]["unit"] == "J/m2"
    assert record["trust"] in ("trusted", "doubtful")


def test_estimate_needs_the_size_of_the_picture_once(magray: Magray, estimator: Path, picture: Path) -> None:
    command = ("estimate", picture, "--estimator", estimator)
    refuses(magray(*command), "--scale-um", "--pixel-nm")
    refuses(magray(*command, "--scale-um", "1", "--pixel-nm", "4"), "either")


def test_estimate_takes_the_scale_and_the_channel_from_the_file(magray: Magray, picture: Path, tmp_path: Path) -> None:
    grey = read_picture(picture)
    pages = np.stack([grey, grey[::-1]])
    tifffile.imwrite(tmp_path / "a.tif", pages, imagej=True, resolution=(250, 250), metadata={"unit": "micron"})
    command = ("estimate", tmp_path / "a.tif", "--estimator", "co-like")
    refuses(magray(*command), "2 page 2")
    refuses(magray(*command, "--channel", "1", "--pixel-nm", "5"), "the file says 4 nm")
    told = magray("estimate", picture, "--estimator", "co-like", "--pixel-nm", "4")
    assert magray(*command, "--channel", "page 1").out == told.out


def test_picture_says_what_is_read_and_done(magray: Magray, picture: Path, tmp_path: Path) -> None:
    said = magray("picture", picture, "--output", tmp_path / "seen.png")
    assert "256 × 256 pixels of unknown size" in said.out
    assert read_picture(tmp_path / "seen.png").shape[0] == 128
    refuses(magray("picture", picture, "--crop", "1,2,3"), "x,y,width,height")
    refuses(magray("picture", picture, "--clean", "polish"), "is no step")


def test_estimate_refuses_what_is_no_picture(magray: Magray, estimator: Path, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("not a picture")
    write_picture(tmp_path / "flat.png", np.full((256, 256), 7, np.uint8))
    write_picture(tmp_path / "tiny.png", np.eye(64, dtype=np.uint8) * 255)
    for name, word in (("text.png", "picture"), ("flat.png", "contrast"), ("tiny.png", "128"), ("no.png", "no.png")):
        refuses(magray("estimate", tmp_path / name, "--estimator", estimator, "--scale-um", "1"), word)


def test_estimate_refuses_what_is_no_estimator(magray: Magray, estimator: Path, picture: Path, tmp_path: Path) -> None:
    command = ("estimate", picture, "--scale-um", "1", "--estimator")
    refuses(magray(*command, tmp_path / "nowhere"), "nowhere", "co-like, co-like-microscope")
    folder = tmp_path / "half"
    folder.mkdir()
    description = (estimator / "estimator.json").read_text()
    (folder / "estimator.json").write_text(description)
    refuses(magray(*command, folder), "network.safetensors")
    (folder / "network.safetensors").write_bytes((estimator / "network.safetensors").read_bytes())
    assert magray(*command, folder).code == 0
    (folder / "estimator.json").write_text(re.sub(r'"format": \d+', '"format": 99', description))
    refuses(magray(*command, folder), "newer")


def test_a_store_can_be_looked_into(magray: Magray, store: Path, tmp_path: Path) -> None:
    listed = magray("store", "ls", store).out.splitlines()
    assert listed[0].startswith("film_id\tsplit\tstatus")
    assert len(listed) == 3
    film_id = listed[1].split("\t")[0]
    assert "2 of 2 films" in magray("store", "show", store).out
    assert f"film_id: {film_id}\n" in magray("store", "show", store, film_id).out
    assert "Ms: 1200000.0 A/m\n" in magray("store", "show", store, film_id).out
    assert magray("store", "verify", store).code == 0
    assert magray("store", "export", store, tmp_path / "pictures").code == 0
    assert len(list((tmp_path / "pictures").glob("*.png"))) == 2
    refuses(magray("store", "show", store, "0" * 24), "has no film")
    refuses(magray("store", "ls", tmp_path / "nothing"), "there is no store")
    refuses(magray("store", "verify", store, "--plan", tmp_path / "no.parquet"), "there is no")


def test_a_gallery_lies_beside_its_store(magray: Magray, store: Path, tmp_path: Path) -> None:
    said = magray("gallery", store, "--y", "seconds")
    page = store.parent / "gallery.html"
    assert said.out == f"{page}: 2 of 2 films over D and seconds\n"
    page.unlink()
    assert magray("gallery", store, "--y", "seconds", "--output", tmp_path / "a.html").code == 0
    assert (tmp_path / "a.html").exists()
    assert not page.exists()
    refuses(magray("gallery", store), "Ms is the same in all films")
    refuses(magray("gallery", store, "--x", "protocol"), "films have no number 'protocol'; choose one of")
    refuses(magray("gallery", tmp_path / "nothing"), "there is no store")


def test_a_damaged_store_fails_its_verification(magray: Magray, small: list[str], store: Path, tmp_path: Path) -> None:
    magray("plan", CONFIG, *small)
    said = magray("store", "verify", store, "--plan", tmp_path / "run" / "plan.parquet")
    assert said.code == 1
    assert "missing: " in said.out
    assert "foreign: " in said.out


@pytest.mark.parametrize(
    "words", [["fly"], ["plan"], ["plan", "--fast", "x.yaml"], ["estimate", "x.png", "--scale-um", "big"]]
)
def test_a_command_that_is_misspelt_ends_with_code_2(magray: Magray, words: list[str]) -> None:
    said = magray(*words)
    assert said.code == 2
    assert "Traceback" not in said.err


def test_the_doctor_hides_secrets(magray: Magray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "do-not-show-me")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA-nor-me")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://user:nor-me-either@127.0.0.1:8333")
    said = magray("doctor")
    assert said.code == 0
    words = " ".join(said.out.split())
    assert "AWS_SECRET_ACCESS_KEY (hidden)" in words
    assert "127.0.0.1:8333" in words
    for secret in ("do-not-show-me", "AKIA", "nor-me"):
        assert secret not in said.out
    for topic in ("CPU", "GPU", "Ray", "disk", "versions", "S3"):
        assert topic in said.out


@pytest.mark.parametrize(("size", "store"), [("laptop", None), ("cluster", "s3://bucket/films")])
@pytest.mark.parametrize("wanted", ["dmi", "ms", "any-film"])
def test_a_new_project_can_be_planned(
    magray: Magray, tmp_path: Path, wanted: str, size: str, store: str | None
) -> None:
    folder = tmp_path / "2026: a film"  # a name that YAML could misread
    made = magray("init", folder, "--for", wanted, "--size", size, *(["--store", store] if store else []))
    assert (made.code, made.err) == (0, "")
    section = "design" if wanted == "any-film" else "campaign"
    planned = magray("plan", folder / "project.yaml", "--set", f"{section}.films=4")
    assert planned.code == 0, planned.err
    assert pq.read_table(folder / "results" / "plan.parquet").num_rows == 4
    kind = "design" if wanted == "any-film" else "project"
    assert json.loads((folder / "project.schema.json").read_text()) == json.loads(magray("schema", kind).out)
    assert load_films(folder / "project.yaml").store_uri == (store or str(folder / "results" / "store"))


def test_a_job_takes_no_config_from_a_url(magray: Magray) -> None:
    said = magray("simulate", "s3://bucket/project.yaml", "--address", "http://127.0.0.1:9")
    refuses(said, "s3://bucket/project.yaml does not travel with the job")


def test_a_new_project_replaces_no_other(magray: Magray, tmp_path: Path) -> None:
    (tmp_path / "project.yaml").write_text("name: mine")
    refuses(magray("init", tmp_path), "project.yaml is there already")
    assert (tmp_path / "project.yaml").read_text() == "name: mine"
    refuses(magray("init", tmp_path / "new", "--store", "s3://me:secret@bucket/films"), "holds credentials")
    assert not (tmp_path / "new").exists()


def test_the_version_is_told(magray: Magray) -> None:
    assert magray("--version") == Said(0, f"magray {__version__}\n", "")


def test_a_shell_completes_commands() -> None:
    asked = {"_MAGRAY_COMPLETE": "complete_bash", "COMP_WORDS": "magray est", "COMP_CWORD": "1"}
    assert CliRunner().invoke(cli.app, env=asked, prog_name="magray").output.split() == ["estimate"]
