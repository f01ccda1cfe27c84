"""The films of a campaign: sampled as written, or refused in one line."""

import pytest

from magray.config import load_config, read_config
from magray.errors import UserError
from magray.films import Demagnetise, Film, Minimize, Protocol, Quench, Random, Sweep, Uniform, sample
from magray.units import MU0
from tests.support.configs import QUICKSTART, check_refusal


def test_the_quickstart_is_a_material_of_its_own_made_as_in_the_paper() -> None:
    film = sample(load_config(QUICKSTART).campaign.sampling())[0]
    assert (film.Ms, film.Ku1, film.Aex) == (1.2e6, 1.05e6, 15e-12)
    assert film.cell_size == (4e-9, 4e-9, 4e-9)
    assert film.dmi == "bulk"
    assert film.protocol == Protocol("random", (Minimize(1e-3, 20_000),))


def test_a_film_has_the_same_id_whether_yaml_or_python_made_it() -> None:
    config = load_config(QUICKSTART, ["campaign.D=0.3 mJ/m2", "campaign.sigma=0.1"])
    made = sample(config.campaign.sampling())[0]
    film = Film(
        (256, 256),
        (4e-9, 4e-9, 4e-9),
        1.2e6,
        1.05e6,
        15e-12,
        0.3e-3,
        "bulk",
        0.1,
        seed=made.seed,
        protocol=made.protocol,
    )
    assert made.film_id == film.film_id


def test_a_protocol_of_every_kind_can_be_written_and_is_kept() -> None:
    """Units become SI numbers, and the config that is kept gives the same films."""
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


def test_stages_of_many_fields_are_the_same_in_yaml_and_python() -> None:
    """And survive the YAML that a store keeps."""
    stages = (
        "{demagnetise: {start: 400 kA/m, end: 10 kA/m, ratio: 0.5, direction: [0, 0, 1]}}, "
        "{sweep: {fields: [300 kA/m, -100 kA/m], step: 50 kA/m, direction: [1, 0, 1], max_evaluations: 500}}"
    )
    config = load_config(QUICKSTART, [f"campaign.protocol.stages=[{stages}]"])
    made = (
        Demagnetise(4e5, 1e4, (0, 0, 1), ratio=0.5),
        Sweep((3e5, -1e5), (1, 0, 1), step=5e4, max_evaluations=500),
    )
    assert config.campaign.protocol.protocol().stages == made
    assert read_config(config.to_yaml()) == config


def test_a_random_start_can_have_a_length() -> None:
    config = load_config(QUICKSTART, ["campaign.protocol.initial={random: 4 nm}"])
    assert config.campaign.protocol.protocol().initial == Random(4e-9)
    assert read_config(config.to_yaml()) == config
    with pytest.raises(UserError, match=r"random: .*mJ"):
        load_config(QUICKSTART, ["campaign.protocol.initial={random: 4 mJ}"])


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
        Ms=1.2e6,
        Ku1=1.05e6,
        Aex=15e-12,
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


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("campaign.Msat=1500 kA/m", "unknown key campaign.Msat; did you mean Ms?"),
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
        ("campaign.protocol.initial={random: 4 nm, uniform: [0, 0, 1]}", "initial: give random, {random: 4 nm}, or"),
        ("campaign.protocol.initial={random: 4 nm, noise: 0.3}", "initial: give random, {random: 4 nm}, or"),
        ("campaign.protocol.initial={uniform: [0, 0, 0]}", "uniform takes a direction that is not 0, 0, 0"),
        ("campaign.protocol.initial={uniform: [0, 0, 1], noise: 2}", "noise is an angle between 0 and 1 rad, not 2"),
        ("campaign.protocol.stages=[]", "it has no stages"),
        ("campaign.protocol.stages=[{}]", "stages: each begins with quench, minimize"),
        ("campaign.protocol.stages=[{minimize: }]", "stages: each begins with quench, minimize"),
        (
            "campaign.protocol.stages=[{quench: {alpha: 1, duration: 2 ns}, minimize: {}}]",
            "stages: each begins with quench, minimize",
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
        (
            "campaign.protocol.stages=[{demagnetise: {start: 10 mT, end: 500 mT, direction: [0, 0, 1], ratio: 0.9}}]",
            "demagnetise: the field never falls from",
        ),
        (
            "campaign.protocol.stages=[{demagnetise: {start: 500 mT, end: 0 mT, direction: [0, 0, 1], ratio: 0.9}}]",
            "demagnetise: the field never falls from",
        ),
        (
            "campaign.protocol.stages=[{demagnetise: {start: 500 mT, end: 10 mT, direction: [0, 0, 1], ratio: 1}}]",
            "demagnetise: the field never falls by a ratio of 1",
        ),
        (
            "campaign.protocol.stages=[{demagnetise: {start: 500 mT, end: 10 mT, direction: [0, 0, 1], ratio: 1.5}}]",
            "demagnetise: the field never falls by a ratio of 1.5",
        ),
        (
            "campaign.protocol.stages=[{demagnetise: {start: 500 mT, end: 10 mT, direction: [0, 0, 1]}}]",
            "demagnetise: give either ratio, such as 0.9, or steps",
        ),
        (
            "campaign.protocol.stages=[{demagnetise: {start: 2 T,end: 1 T,ratio: 0.9,steps: 7,direction: [1,0,0]}}]",
            "demagnetise: give either ratio",
        ),
        (
            "campaign.protocol.stages=[{demagnetise: {start: 1 T, end: 10 mT, direction: [0, 0, 1], ratio: 0.99999}}]",
            "demagnetise: the number of fields that follows from the ratio",
        ),
        (
            "campaign.protocol.stages=[{demagnetise: {start: 500, end: 10 mT, direction: [0, 0, 1], ratio: 0.9}}]",
            "start: 500 has no unit",
        ),
        (
            "campaign.protocol.stages=[{sweep: {fields: [], direction: [0, 0, 1]}}]",
            "sweep: it has no points; give fields",
        ),
        (
            "campaign.protocol.stages=[{sweep: {fields: 1 T, direction: [0, 0, 1]}}]",
            "fields: give quantities in brackets",
        ),
        (
            "campaign.protocol.stages=[{sweep: {fields: [1 T, -1 T], direction: [0, 0, 0]}}]",
            "sweep: it takes a direction that is not 0, 0, 0",
        ),
        (
            "campaign.protocol.stages=[{sweep: {fields: [1 T, -1 T], direction: [0, 0, 1], step: 0 mT}}]",
            "sweep: step must be above 0 A/m",
        ),
        (
            "campaign.protocol.stages=[{sweep: {fields: [1 T, -1 T], direction: [0, 0, 1], step: 0.01 A/m}}]",
            "sweep: the number of its points",
        ),
        ("campaign.open_edges=z", "campaign.open_edges: input should be 'none', 'x', 'y', 'xy' or 'ellipse', not 'z'"),
        ("campaign.demag=sometimes", "campaign.demag: write true or false, not 'sometimes'"),
        ("campaign.grain_size=1 nm", "grain_size is 0 (each cell a grain) or 4e-09 m"),
        ("campaign.grain_size=20", "grain_size: 20 has no unit"),
        # counts, each with the reason of its bound
        ("campaign.films=1000000000000", "campaign.films: input should be at most 10,000,000, since a plan is made in"),
        (
            "campaign.protocol.stages=[{minimize: {max_evaluations: 100000000000}}]",
            "max_evaluations must lie between 1",
        ),
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
        ("campaign.demag=0", "campaign.demag: write true or false, not 0"),
        ("campaign.demag=no", "campaign.demag: write true or false, not 'no'"),
        ("campaign.Ms=true", "Ms: True is not a quantity"),
    ],
)
def test_a_campaign_that_cannot_be_is_refused_in_one_line(override: str, complaint: str) -> None:
    check_refusal(override, complaint)
