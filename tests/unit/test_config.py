"""A config is complete and possible, or one line says why not."""

from pathlib import Path

import pytest

from magray.config import is_range, load_config, parse_scales, read_config
from magray.errors import UserError
from magray.films import Film, Minimize, Protocol, Quench, Uniform, sample
from magray.films.film import MU0

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
    ],
)
def test_a_mistake_is_one_line_that_names_file_and_key(override: str, complaint: str) -> None:
    with pytest.raises(UserError) as error:
        load_config(QUICKSTART, [override])
    message = str(error.value)
    assert message.startswith(f"{QUICKSTART}: ")
    assert complaint in message
    assert "\n" not in message


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    path = tmp_path / "short.yaml"
    path.write_text(QUICKSTART.read_text().replace("  Ku1: 1.6 MJ/m3\n", ""))
    with pytest.raises(UserError, match=r"short.yaml: campaign.Ku1 is missing$"):
        load_config(path)


@pytest.mark.parametrize("content", [b"", b"- a\n", b"a: [\n", b"\xff\xfe\x00", b"\x00"])
def test_a_file_that_is_no_config_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"broken.yaml: "):
        load_config(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no.yaml: cannot read this config: No such file"):
        load_config(tmp_path / "no.yaml")


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
