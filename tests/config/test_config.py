"""A config is complete and possible, or one line says why not."""

import tempfile
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from magray.config import Config, is_range, load_config, parse_scales, read_config
from magray.config.strict_yaml import dump, parse
from magray.errors import UserError
from magray.films import Film, Minimize, Protocol, Quench, Uniform, sample
from magray.units import MU0

QUICKSTART = Path(__file__).parents[2] / "configs" / "quickstart.yaml"


def test_the_quickstart_is_the_co_like_campaign_of_the_paper() -> None:
    film = sample(load_config(QUICKSTART).campaign.sampling())[0]
    assert (film.Ms, film.Ku1, film.Aex) == (1.5e6, 1.6e6, 31e-12)
    assert film.cell_size == (4e-9, 4e-9, 4e-9)
    assert film.dmi == "bulk"
    assert film.protocol == Protocol("random", (Minimize(1e-3, 20_000),))


def test_a_film_has_the_same_id_whether_yaml_or_python_made_it() -> None:
    config = load_config(QUICKSTART, ["campaign.D=0.3 mJ/m2", "campaign.sigma=0.1"])
    made = sample(config.campaign.sampling())[0]
    film = Film(
        (256, 256),
        (4e-9, 4e-9, 4e-9),
        1.5e6,
        1.6e6,
        31e-12,
        0.3e-3,
        "bulk",
        0.1,
        seed=made.seed,
        protocol=made.protocol,
    )
    assert made.film_id == film.film_id


PROJECTS = [
    QUICKSTART,
    *(path for name in ("paper", "microscope") for path in sorted((QUICKSTART.parent / name).glob("*.yaml"))),
]


@pytest.mark.parametrize("path", PROJECTS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_the_kept_config_is_the_config_that_ran(path: Path) -> None:
    config = load_config(path)
    kept = config.to_yaml()
    assert read_config(kept) == config
    assert read_config(kept).to_yaml() == kept


def test_the_microscope_is_put_to_the_papers_films() -> None:
    """They share a store, which holds one campaign."""
    paper, seen = (load_config(QUICKSTART.parent / name / "dmi.yaml") for name in ("paper", "microscope"))
    assert (seen.name, seen.campaign, seen.store_uri) == (paper.name, paper.campaign, paper.store_uri)


def test_a_protocol_of_every_kind_can_be_written_and_is_kept() -> None:
    """Units become SI numbers, and the config that is kept gives the very same films."""
    quench = "{quench: {alpha: 0.5, duration: 2 ns, temperature: 300 K, field: [0 mT, 0 mT, 10 mT]}}"
    zero = "field: [0 mT, 0 mT, 0 mT]"
    config = load_config(
        QUICKSTART,
        [
            "campaign.protocol.initial={uniform: [0, 0, 1], noise: 0.02}",
            f"campaign.protocol.stages=[{quench}, {{minimize: {{torque: 1.0e-3, {zero}}}}}, {{minimize: {{}}}}]",
            "campaign.open_edges=xy",
            "campaign.demag=false",
            "campaign.grain_size={uniform: [10 nm, 30 nm]}",
        ],
    )
    film = sample(config.campaign.sampling())[0]
    assert film.protocol == Protocol(
        Uniform((0.0, 0.0, 1.0), 0.02),
        (
            Quench(0.5, 2e-9, 300.0, (0.0, 0.0, 0.01 / MU0)),
            Minimize(1e-3, field=(0.0, 0.0, 0.0)),
            Minimize(),
        ),
    )
    assert (film.open_edges, film.demag) == ("xy", False)
    assert 10e-9 <= film.grain_size < 30e-9
    kept = config.to_yaml()
    again = read_config(kept)
    assert again == config
    assert again.to_yaml() == kept
    assert sample(again.campaign.sampling()) == sample(config.campaign.sampling())


def test_a_film_of_every_new_kind_has_the_same_id_whether_yaml_or_python_made_it() -> None:
    """Whole numbers too: YAML's 1 and 300 K are Python's 1 and 300."""
    overrides = [
        "campaign.D=0.3 mJ/m2",
        "campaign.sigma=0.1",
        "campaign.grain_size=20 nm",
        "campaign.open_edges=ellipse",
        "campaign.protocol.initial={uniform: [1, 0, 0], noise: 0}",
        "campaign.protocol.stages=[{quench: {alpha: 1, duration: 200 ps, temperature: 300 K}}]",
    ]
    made = sample(load_config(QUICKSTART, overrides).campaign.sampling())[0]
    protocol = Protocol(Uniform((1, 0, 0), 0), (Quench(1, 200e-12, 300),))
    film = Film(
        (256, 256),
        (4e-9, 4e-9, 4e-9),
        Ms=1.5e6,
        Ku1=1.6e6,
        Aex=31e-12,
        D=0.3e-3,
        dmi="bulk",
        sigma=0.1,
        grain_size=20e-9,
        open_edges="ellipse",
        seed=made.seed,
        protocol=protocol,
    )
    assert made == film
    assert made.film_id == film.film_id


def test_overrides_change_single_keys() -> None:
    overrides = ["campaign.films=12", "campaign.cells=[128, 64]", "simulate.store=s3://bucket/films", "fit.seed=5"]
    config = load_config(QUICKSTART, overrides)
    assert config.campaign.films == 12
    assert config.campaign.cells == (128, 64)
    assert config.store_uri == "s3://bucket/films"
    assert config.fit.seed == 5


def test_the_store_is_beside_the_results_unless_said_otherwise() -> None:
    assert load_config(QUICKSTART, ["output=/data/co"]).store_uri == "/data/co/store"


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("campaign.Msat=1500 kA/m", "unknown key campaign.Msat; did you mean Ms?"),
        ("campain={}", "unknown key campain; did you mean campaign?"),
        ("fit.learningrate=1", "unknown key fit.learningrate; did you mean learning_rate?"),
        ("campaign.protocol.stages=[{minimise: {}}]", "unknown key campaign.protocol.stages.0.minimise"),
        ("campaign.protocol.stages=[{minimize: {tork: 1}}]", "did you mean torque?"),
        ("campaign.Ms=1500", "Ms: 1500 has no unit; write for example 1500 kA/m"),
        ("campaign.Ms=1500 kJ/m3", "Ms: unit kJ/m3 does not fit; accepted: A/m, kA/m, MA/m"),
        ("campaign.Ms=-1500 kA/m", "Ms must be above 0 A/m"),
        ("campaign.Ms={uniform: [-1 kA/m, 5 kA/m]}", "Ms must be above 0 A/m"),
        ("campaign.D={uniform: [1 mJ/m2, 0.1 mJ/m2]}", "low must be below high"),
        ("campaign.D={uniform: [1 mJ/m2]}", "D: give one value or {uniform: [low, high]}"),
        ("campaign.D={normal: [1 mJ/m2, 2 mJ/m2]}", "D: give one value or {uniform: [low, high]}"),
        ("campaign.dmi=none", "dmi is none"),
        ("campaign.dmi=bulky", "campaign.dmi: input should be 'bulk', 'interfacial' or 'none', not 'bulky'"),
        ("campaign.cells=[255, 256]", "255 is not an even number"),
        ("campaign.cells=[256, 2]", "2 is not an even number between"),
        ("campaign.cells=[256, 100000]", "100000 is not an even number between"),
        ("campaign.cells=[256, 22]", "prime factor above 7"),
        ("campaign.cell_size=[4 nm, 4 nm]", "cell_size: give three quantities"),
        ("campaign.sigma=1.5", "sigma is relative to Ku1"),
        ("campaign.films=0", "campaign.films: input should be greater than 0, not 0"),
        ("campaign.protocol.initial=sideways", "campaign.protocol.initial"),
        ("campaign.protocol.initial=up", "campaign.protocol.initial"),
        ("campaign.protocol.initial={unifrm: [0, 0, 1]}", "did you mean uniform?"),
        ("campaign.protocol.initial={uniform: [0, 0, 1], nois: 0.1}", "did you mean noise?"),
        ("campaign.protocol.initial={uniform: [0, 0, 0]}", "uniform takes a direction that is not 0, 0, 0"),
        ("campaign.protocol.initial={uniform: [0, 0, 1], noise: 2}", "noise is an angle between 0 and 1 rad, not 2"),
        ("campaign.protocol.stages=[]", "it has no stages"),
        ("campaign.protocol.stages=[{}]", "stages: each begins with quench or minimize"),
        ("campaign.protocol.stages=[{minimize: }]", "stages: each begins with quench or minimize"),
        (
            "campaign.protocol.stages=[{quench: {alpha: 1, duration: 2 ns}, minimize: {}}]",
            "stages: each begins with quench or minimize",
        ),
        ("campaign.protocol.stages=[{quench: {alpa: 1, duration: 2 ns}}]", "quench.alpa; did you mean alpha?"),
        ("campaign.protocol.stages=[{quench: {alpha: 1}}]", "stages.0.quench.duration is missing"),
        (
            "campaign.protocol.stages=[{quench: {alpha: 1, duration: 2}}]",
            "duration: 2 has no unit; write for example 2 ns",
        ),
        (
            "campaign.protocol.stages=[{quench: {alpha: 1, duration: 2 K}}]",
            "duration: unit K does not fit; accepted: s,",
        ),
        (
            "campaign.protocol.stages=[{quench: {alpha: 1, duration: 2 s}}]",
            "quench: duration lies between 1e-18 s and 1 ms",
        ),
        ("campaign.protocol.stages=[{quench: {alpha: -1, duration: 2 ns}}]", "quench: alpha lies above 0"),
        (
            "campaign.protocol.stages=[{quench: {alpha: 1, duration: 2 ns, temperature: 300}}]",
            "temperature: 300 has no unit; write for example 300 K",
        ),
        (
            "campaign.protocol.stages=[{quench: {alpha: 1, duration: 2 ns, temperature: 20 C}}]",
            "temperature: unit C does not fit; accepted: K",
        ),
        ("campaign.protocol.stages=[{minimize: {field: [0 mT, 0 mT]}}]", "field: give three quantities"),
        ("campaign.protocol.stages=[{minimize: {field: [0, 0, 10 mT]}}]", "field: 0 has no unit"),
        (
            "campaign.protocol.stages=[{minimize: {field: [0 T, 0 T, 1 K]}}]",
            "field: unit K does not fit; accepted: A/m",
        ),
        ("campaign.open_edges=z", "campaign.open_edges: input should be 'none', 'x', 'y', 'xy' or 'ellipse', not 'z'"),
        ("campaign.demag=sometimes", "campaign.demag: write true or false, not 'sometimes'"),
        ("campaign.grain_size=1 nm", "grain_size is 0 (each cell a grain) or 4e-09 m"),
        ("campaign.grain_size=20", "grain_size: 20 has no unit"),
        ("fit.train_scales=[big]", "'big' is not a set of scales"),
        ("fit.train_scales=['0.5+1.0', '1.0+0.5']", "a set is there twice"),
        ("fit.microscope={blur: [0 nm, 20 nm]}", "fit.microscope.noise is missing"),
        ("fit.microscope={blur: [0, 20 nm], noise: [0, 0]}", "blur: 0 has no unit; write for example 4 nm"),
        ("fit.microscope={blur: 20 nm, noise: [0, 0]}", "fit.microscope.blur: input should be a valid tuple"),
        ("fit.microscope={blur: [20 nm, 5 nm], noise: [0, 0]}", "microscope.blur: give [least, most], both 0 or more"),
        ("fit.microscope={blur: [0 nm, 5 nm], noise: [-1, 0]}", "microscope.noise: give [least, most], both 0 or more"),
        ("fit.microscope={blurr: [0 nm, 5 nm]}", "unknown key fit.microscope.blurr; did you mean blur?"),
        ("fit.targets=[E]", "fit.targets.0: input should be 'D', 'Ms'"),
        ("name=a/b", "name: "),
        ("campaign=3", "campaign: input should be a valid dictionary"),
        ("campaign.Ms.value=3", "Ms is a value, it has no keys of its own"),
        ("campaign.films", "write key=value"),
        ("campaign.cells=[1", "this is not YAML"),
        # counts, each with the reason of its bound
        ("campaign.films=1000000000000", "campaign.films: input should be at most 10,000,000, since a plan is made in"),
        ("fit.seeds=100000000000000000000", "fit.seeds: input should be at most 1,000, since each seed is a fit"),
        ("fit.epochs=100000000000", "fit.epochs: input should be at most 1,000,000, since"),
        ("fit.checkpoint_epochs=100000000000", "fit.checkpoint_epochs: input should be at most"),
        ("fit.views_per_epoch=100000000000", "fit.views_per_epoch: input should be at most"),
        ("fit.batch=100000000", "fit.batch: input should be at most 65,536, since a GPU holds a batch at once"),
        ("fit.workers=100000000", "fit.workers: input should be at most"),
        ("fit.films_at_once=100000000", "fit.films_at_once: input should be at most"),
        (
            "fit.learning_rate=1e30",
            "fit.learning_rate: input should be at most 1, since larger steps diverge, not 1e+30",
        ),
        ("fit.learning_rate=1e-310", "fit.learning_rate: input should be at least"),
        ("fit.weight_decay=1e30", "fit.weight_decay: input should be at most 1"),
        ("fit.targets=[D, D]", "targets: one is there twice"),
        ("fit.train_scales=['1e-310']", "is not a set of scales"),
        ("fit.microscope={blur: [0 nm, 1 m], noise: [0, 1]}", "both 0 or more and up to 0.0001"),
        ("fit.microscope={blur: [0 nm, 1 nm], noise: [0, 1e300]}", "both 0 or more and up to 100"),
        ("simulate.actors=100000000", "simulate.actors: input should be at most"),
        ("simulate.block_films=100000000", "simulate.block_films: input should be at most"),
        ("simulate.gpu_share=1e-310", "simulate.gpu_share: input should be at least 0.001, since"),
        ("study.test_scales=[1e300]", "input should be at most 10,000 µm, since films are smaller"),
        ("study.test_scales=[1e-310]", "input should be at least 0.001 µm, since domains are larger"),
        (
            "campaign.protocol.stages=[{minimize: {max_evaluations: 100000000000}}]",
            "max_evaluations must lie between 1",
        ),
        ("name=" + "x" * 300, "name: string should have at most 200 characters"),
        # quantities beyond every material
        ("campaign.Ms=1e200 A/m", "Ms must lie between 1 and 1e+08 A/m, not 1e+200"),
        ("campaign.Ms=1e9999999 A/m", "Ms: 1e9999999 A/m is too large"),
        ("campaign.Ms=1e-9999999 A/m", "Ms: 1e-9999999 A/m is too small"),
        ("campaign.D={uniform: [-1e308 J/m2, 1e308 J/m2]}", "D must lie between -100 and 100 J/m²"),
        ("campaign.cell_size=[1e-310 m, 4 nm, 4 nm]", "cell_size must be three lengths in metres"),
        ("campaign.field=[0 T, 0 T, 1e300 T]", "field must lie between"),
        ("campaign.protocol.initial={uniform: [1e308, 1e308, 0]}", "uniform takes a direction"),
        # types
        ("campaign.films=true", "campaign.films: input should be a valid integer, not True"),
        ("campaign.films='12'", "campaign.films: input should be a valid integer, not '12'"),
        ("campaign.films=1e12", "campaign.films: input should be a valid integer, not 1000000000000.0"),
        ("fit.learning_rate=true", "fit.learning_rate: input should be a valid number, not True"),
        ("fit.learning_rate=.inf", "fit.learning_rate: input should be a valid number, not '.inf'"),
        ("campaign.demag=0", "campaign.demag: write true or false, not 0"),
        ("campaign.demag=no", "campaign.demag: write true or false, not 'no'"),
        ("campaign.Ms=true", "Ms: True is not a quantity"),
        ("simulate.store" + ".a" * 50_000 + "=1", "simulate.store: input should be a valid string, not {'a': {'a'"),
        ("na\udcffme=1", "write key=value"),
    ],
)
def test_a_mistake_is_one_line_that_names_file_and_key(override: str, complaint: str) -> None:
    with pytest.raises(UserError) as error:
        load_config(QUICKSTART, [override])
    message = str(error.value)
    assert message.startswith(f"{QUICKSTART}: ")
    assert complaint in message
    assert "\n" not in message


def test_the_last_seed_is_a_seed_too() -> None:
    with pytest.raises(UserError, match=r"seed: 9223372036854775807 and the 2 seeds from it on pass 2\*\*63 - 1"):
        load_config(QUICKSTART, ["fit.seed=9223372036854775807", "fit.seeds=2"])


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    path = tmp_path / "short.yaml"
    path.write_text(QUICKSTART.read_text().replace("  Ku1: 1.6 MJ/m3\n", ""))
    with pytest.raises(UserError, match=r"short.yaml: campaign.Ku1 is missing$"):
        load_config(path)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("name: &j [x, x]", "line 2: anchors and aliases (& and *) are not read; write the value itself"),
        ("name: *j", "line 2: anchors and aliases"),
        ("fit: " + "[" * 100_000, "line 2: this is nested more than 50 deep"),
        ("fit: " + "{a: " * 60, "line 2: this is nested more than 50 deep"),
        ("fit: [" + "1," * 10_000 + "1]", "line 2: there are more than 10,000 keys and values"),
        ("#" + "x" * 1_000_000, "longer than 1,000,000 characters"),
        ("seed: !!int x", "line 2: tags (!) are not read"),
        ("seed: !!python/object/apply:os.getpid []", "line 2: tags (!) are not read"),
        ("seed: " + "1" * 5000, "line 2: a number of 5,000 digits is too large"),
        ("seed: 1e999", "line 2: 1e999 is too large for a number"),
        (r'name: "a\0b"', r"line 2: '\x00' is not a character of a text"),
        (r'name: "a\ud800b"', r"line 2: '\ud800' is not a character of a text"),
        (r'name: "\Uffffffff"', "line 2: it holds a number that is too large"),
        ("name: \x07", "line 2: it holds characters that no text has"),
        ("{1: 2}: 3", "line 2: a key is a word, such as name"),
        ("1: 3", "line 2: a key is a word"),
        ("true: 3", "line 2: a key is a word"),
        ("fit: 1\nfit: 2", "line 3: the key 'fit' is there twice; keep one"),
        ("campaign:\n  films: 4\n  films: 8", "line 4: the key 'films' is there twice; keep one"),
        ("fit: {<<: {epochs: 3}}", "unknown key fit.<<"),
        ("output: [1", "this is not YAML, line "),
    ],
)
def test_yaml_that_no_config_needs_is_one_line_with_its_number(tmp_path: Path, line: str, complaint: str) -> None:
    """Some of it is PyYAML's traceback; some of it takes gigabytes, or is read as something else than it says."""
    path = tmp_path / "odd.yaml"
    path.write_text(f"# a config\n{line}\n", encoding="utf-8")
    with pytest.raises(UserError) as error:
        load_config(path)
    message = str(error.value)
    assert message.startswith(f"{path}: ")
    assert complaint in message
    assert "\n" not in message
    assert len(message) < 400 + len(str(path))


def test_what_is_wrong_in_an_override_is_told_of_it() -> None:
    with pytest.raises(UserError, match=r"--set 'fit.seed=&a 3': line 1: anchors and aliases"):
        load_config(QUICKSTART, ["fit.seed=&a 3"])


@pytest.mark.parametrize(
    ("yaml", "value"),
    [
        ("010", 10),
        ("089", 89),
        ("-7", -7),
        ("1e-3", 1e-3),
        ("1.0e-3", 1e-3),
        (".5", 0.5),
        ("5.", 5.0),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("0x10", "0x10"),
        ("0o10", "0o10"),
        ("0b11", "0b11"),
        (".inf", ".inf"),
        (".nan", ".nan"),
        ("2024-01-01", "2024-01-01"),
        ("2024-99-99", "2024-99-99"),
        ("no", "no"),
        ("on", "on"),
        ("y", "y"),
        ("=", "="),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("'~'", "~"),
        ("0.25..1.0", "0.25..1.0"),
        ("0.5+1.0", "0.5+1.0"),
    ],
)
def test_a_scalar_is_what_it_looks_like(yaml: str, value: object) -> None:
    """YAML 1.1 makes 8 of 010, 90 of 1:30, false of no and a date of 2024-01-01."""
    read = parse(f"key: {yaml}")["key"]
    assert (read, type(read)) == (value, type(value))


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"])) | st.from_regex(
    r"[-+]?[0-9.e_x:~+-]{1,8}", fullmatch=True
)


@settings(deadline=5000, max_examples=50)
@given(st.dictionaries(TEXTS, SCALARS | TEXTS | st.lists(SCALARS | TEXTS, max_size=3), max_size=3))
def test_what_is_written_is_read_the_same_by_every_reader(content: dict[str, object]) -> None:
    """Plans keep their config as text: no text may come back as a number, in YAML 1.1 either."""
    assert parse(dump(content)) == content
    assert yaml.safe_load(dump(content)) == content


def test_a_mark_of_byte_order_and_the_line_ends_of_windows_are_read(tmp_path: Path) -> None:
    path = tmp_path / "windows.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + QUICKSTART.read_bytes().replace(b"\n", b"\r\n"))
    assert load_config(path) == load_config(QUICKSTART)


def config_or_line(path: Path, *overrides: str) -> bool:
    """Whether a file is a config, or refused in few words."""
    try:
        return isinstance(load_config(path, overrides), Config)
    except UserError as error:
        return 0 < len(str(error)) < 2000


PIECES = st.sampled_from(
    [line + "\n" for line in QUICKSTART.read_text(encoding="utf-8").splitlines()]
    + [
        "&a ",
        "*a",
        "<<: ",
        "!!int ",
        "? ",
        "- ",
        "[",
        "]",
        "{",
        "}",
        ": ",
        "\n",
        "  ",
        "'",
        '"',
        "|\n",
        "%YAML 1.1\n",
        "---\n",
    ]
    + [
        "\\ud800",
        "\\0",
        "\ufeff",
        "\x85",
        "010",
        "1:30",
        "1e999",
        "-1e-310",
        "9" * 5000,
        "2024-99-99",
        "~",
        ".nan",
        "kA/m",
    ]
)


@settings(deadline=5000, max_examples=100)
@given(st.binary() | st.lists(PIECES, max_size=60).map(lambda pieces: "".join(pieces).encode()))
def test_any_bytes_are_a_config_or_one_line(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "any.yaml"
        path.write_bytes(content)
        assert config_or_line(path)


PATHS = st.sampled_from(
    [
        *(
            "name",
            "output",
            "campaign",
            "campaign.films",
            "campaign.cells",
            "campaign.cell_size",
            "campaign.Ms",
            "campaign.D",
        ),
        *(
            "campaign.protocol",
            "campaign.protocol.initial",
            "campaign.protocol.stages",
            "campaign.field",
            "campaign.demag",
        ),
        *(
            "simulate.store",
            "simulate.gpu_share",
            "fit.train_scales",
            "fit.microscope",
            "fit.seed",
            "fit.width",
            "study",
        ),
        *("", ".", "name.x", "a..b"),
    ]
)
VALUES = st.sampled_from(
    [
        *("1e308", "-0", "1e-310 m", "9" * 300, "[64, 64]", "[0 T, 0 T, 1 T]", "{uniform: [0, 0, 1e-310]}"),
        *("{uniform: [0.1 mJ/m2, 1e308 J/m2]}", "{uniform: [1, 0]}", "[{quench: {alpha: 1, duration: 1e-310 s}}]"),
        "[{minimize: {field: [1, 2]}}]",
    ]
)


@settings(deadline=5000, max_examples=50)
@given(PATHS | st.text(), VALUES | st.text())
def test_any_override_is_a_config_or_one_line(path: str, value: str) -> None:
    assert config_or_line(QUICKSTART, f"{path}={value}")


@pytest.mark.parametrize("content", [b"", b"- a\n", b"a: [\n", b"\xff\xfe\x00", b"\x00"])
def test_a_file_that_is_no_config_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"broken.yaml: "):
        load_config(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no.yaml: cannot read this config: No such file"):
        load_config(tmp_path / "no.yaml")
    with pytest.raises(UserError, match=r"cannot read this config: no file has such a name"):
        load_config("a\0b.yaml")


def test_scale_sets_are_read_in_any_order() -> None:
    assert parse_scales("1.0+0.25 + 0.5") == (0.25, 0.5, 1.0)
    for text in ("", "0", "-1", "nan", "inf", "0.5+", "0.5,1"):
        with pytest.raises(UserError, match="not a set of scales"):
            parse_scales(text)


def test_a_range_of_scales_is_its_two_ends() -> None:
    assert parse_scales("0.5..2") == (0.5, 2.0)
    assert is_range("0.5..2.0")
    assert not is_range("0.5+2.0")
    for text in ("0.5..", "0.5..1..2", "1..1", "0.5..1+2"):
        with pytest.raises(UserError, match=r"not a (set|range) of scales"):
            parse_scales(text)


def test_a_range_needs_a_number_of_views() -> None:
    overrides = ["fit.train_scales=['0.5', 0.25..1.0]", "fit.views_per_epoch=null"]
    with pytest.raises(UserError, match=r"a range such as 0.25..1.0 needs views_per_epoch"):
        load_config(QUICKSTART, overrides)
