"""A film's id, and the values that no film can have."""

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from magray.errors import UserError
from magray.films import (
    Demagnetise,
    Film,
    Minimize,
    Protocol,
    Quench,
    Random,
    Sampling,
    Sweep,
    Uniform,
    films_of,
    plan_table,
    sample,
)
from tests.support.specimens import CO_LIKE, co_like

QUENCHED = Protocol(Uniform((0, 0, 1), noise=0.02), (Quench(0.5, 2e-9, 300.0, (0.0, 0.0, 8e3)), Minimize(1e-3)))

WHOLE_NUMBERS = Protocol(Uniform((1, -2, 3), 0), (Quench(1, 1e-9, 300, (0, -0.0, 5)), Minimize(max_evaluations=7)))


@pytest.mark.parametrize(
    ("film", "film_id"),
    [
        (co_like((256, 256)), "7750909d76e129d39eb4add3"),
        (co_like((256, 256), protocol=Protocol("random", (Minimize(1e-3, 20_000),))), "00344c7f16fcefab33dc68a8"),
        (co_like((256, 256), grain_size=0.0, open_edges="none", demag=True), "7750909d76e129d39eb4add3"),
        (Film((8, 16), (1e-9, 2e-9, 3e-9), 800000, 0, 13e-12), "2e3ece2c341cfcfa452940df"),
        (co_like(D=-1.3e-3, dmi="interfacial", field=(1.0, -2.0, 3.0)), "e4deccedb50ec37a24933b14"),
        (co_like(sigma=0, D=0, dmi="none", Ku1=-1e5), "3087139e92753a5cd7e3677f"),
        (co_like(grain_size=20e-9, open_edges="ellipse", demag=False), "1d23fdb75041e5009da01133"),
        (co_like((480, 8192), seed=2**63 - 1), "200ab4be82a811297a7c0011"),
        (co_like(protocol=QUENCHED), "80e3bf877934659eefd3c98b"),
        (co_like(protocol=WHOLE_NUMBERS), "23ede870ab0bb23082abbbe9"),
        (
            co_like(protocol=Protocol(stages=(Minimize(0.9, 1, (1 / 3, -1e-300, 0)), Minimize(1e-6)))),
            "86ced02087f4902c5ade4bde",
        ),
        (
            Film(
                (8, 8),
                (9.9e-9, 1e-10, 5e-10),
                1e3,
                -1e8,
                1e-13,
                5e-2,
                "bulk",
                0.999,
                0.9e-3,
                (-1e8, 1e8, 0),
                3,
                "xy",
                False,
            ),
            "08f1d49a4cd3dd3d8967f042",
        ),
    ],
)
def test_the_id_never_changes(film: Film, film_id: str) -> None:
    """Stores are full of them; a change needs another PHYSICS_VERSION.

    Inputs that came later are not part of the ids of films without them.
    """
    assert film.film_id == film_id


@pytest.mark.parametrize(
    "change",
    [
        {"cells": (32, 64)},
        {"cell_size": (4e-9, 4e-9, 5e-9)},
        {"Ms": 1.4e6},
        {"Ku1": 1.5e6},
        {"Aex": 30e-12},
        {"D": 0.6e-3},
        {"dmi": "interfacial"},
        {"sigma": 0.2},
        {"field": (0.0, 0.0, 1.0)},
        {"seed": 8},
        {"protocol": Protocol(stages=(Minimize(torque=1e-3),))},
        {"protocol": Protocol(stages=(Minimize(field=(0.0, 0.0, 0.0)),))},
        {"protocol": Protocol(Uniform((0, 0, 1)))},
        {"protocol": Protocol(Random(4e-9))},
        {"protocol": QUENCHED},
        {"grain_size": 20e-9},
        {"open_edges": "xy"},
        {"demag": False},
    ],
)
def test_every_input_is_part_of_the_id(change: dict[str, Any]) -> None:
    assert co_like(**change).film_id != co_like().film_id


@pytest.mark.parametrize("edges", ["x", "y", "xy", "ellipse"])
def test_every_kind_of_edge_is_another_film(edges: Any) -> None:
    others = {co_like(open_edges=other).film_id for other in ("none", "x", "y", "xy", "ellipse") if other != edges}
    assert len(others) == 4
    assert co_like(open_edges=edges).film_id not in others


@pytest.mark.parametrize(
    "quench",
    [
        Quench(0.4, 2e-9, 300.0, (0.0, 0.0, 8e3)),
        Quench(0.5, 1e-9, 300.0, (0.0, 0.0, 8e3)),
        Quench(0.5, 2e-9, 299.0, (0.0, 0.0, 8e3)),
        Quench(0.5, 2e-9, 300.0, (0.0, 0.0, 9e3)),
        Quench(0.5, 2e-9, 300.0),
        Minimize(1e-3, field=(0.0, 0.0, 8e3)),
    ],
)
def test_every_setting_of_a_stage_is_part_of_the_id(quench: Quench | Minimize) -> None:
    assert co_like(protocol=replace(QUENCHED, stages=(quench, Minimize(1e-3)))).film_id != quenched_id()
    assert co_like(protocol=replace(QUENCHED, stages=QUENCHED.stages[::-1])).film_id != quenched_id()
    for initial in (Uniform((0, 0, -1), noise=0.02), Uniform((0, 0, 1), noise=0.03), Random(3e-9), Random(4e-9)):
        assert co_like(protocol=replace(QUENCHED, initial=initial)).film_id != quenched_id()


def quenched_id() -> str:
    return co_like(protocol=QUENCHED).film_id


def test_the_type_of_a_number_is_not_part_of_the_id() -> None:
    assert co_like(Ms=1500000, field=(-0.0, 0, 0)).film_id == co_like(Ms=1.5e6).film_id


@pytest.mark.parametrize(
    ("whole", "decimal"),
    [
        (Protocol(Uniform((0, 0, 1), 0)), Protocol(Uniform((-0.0, 0.0, 1.0), 0.0))),
        (Protocol(stages=(Minimize(field=(0, -0.0, 8000)),)), Protocol(stages=(Minimize(field=(0.0, 0.0, 8e3)),))),
        (Protocol(stages=(Quench(1, 1e-9, 300),)), Protocol(stages=(Quench(1.0, 1e-9, 300.0),))),
        (Protocol(stages=(Quench(1.0, 1e-9, 0),)), Protocol(stages=(Quench(1.0, 1e-9, -0.0),))),
    ],
)
def test_the_type_of_a_number_in_the_protocol_is_not_part_of_the_id(whole: Protocol, decimal: Protocol) -> None:
    """YAML makes floats of all of them, so that Python's films would not be found in a store that YAML's made."""
    assert co_like(protocol=whole).film_id == co_like(protocol=decimal).film_id


@pytest.mark.parametrize(
    "protocol",
    [
        Protocol(),
        QUENCHED,
        Protocol(Random(1e-9 / 3)),
        Protocol(Uniform((1, 2, -3)), (Minimize(field=(1 / 3, -1e-300, 0.0)), Minimize())),
        Protocol(stages=(Quench(0.1, 1 / 3e9), Quench(0.02, 1e-12, 0.1), Minimize(1e-3, 7))),
        Protocol(stages=(Demagnetise(4e5, 1e4, (0, 0, 1), ratio=1 / 3), Demagnetise(4e5, 1e4, (1, 0, 2), steps=7))),
        Protocol(stages=(Sweep((4e5, -1e5 / 3), (0, 0, 1), step=1e4), Sweep([0], (1, 1, 0), noise=0))),  # type: ignore[arg-type]
    ],
)
def test_a_protocol_survives_its_text(protocol: Protocol) -> None:
    assert Protocol.from_json(protocol.to_json()) == protocol
    assert Protocol.from_json(protocol.to_json()).to_json() == protocol.to_json()


def test_a_demagnetising_field_alternates_and_falls_to_its_end_and_the_films_own_is_last() -> None:
    by_ratio, in_steps = Demagnetise(8e5, 1e5, (0, 0, 2), ratio=0.5), Demagnetise(8e5, 1e5, (0, 0, 2), steps=4)
    for stage in (by_ratio, in_steps):
        *fields, own = stage.fields
        assert own is None
        assert np.allclose([field for field in fields if field], [(0, 0, 8e5), (0, 0, -4e5), (0, 0, 2e5), (0, 0, -1e5)])
    assert (
        co_like(protocol=Protocol(stages=(by_ratio,))).film_id != co_like(protocol=Protocol(stages=(in_steps,))).film_id
    )


def test_a_sweep_goes_from_field_to_field_in_equal_steps_of_the_given_one_at_most() -> None:
    assert [z for _, _, z in Sweep((3e5, -1e5, 0.0), (0, 0, 1), step=1.5e5).points] == pytest.approx(
        [3e5, 3e5 - 4e5 / 3, 3e5 - 8e5 / 3, -1e5, 0.0]
    )
    assert [z for _, _, z in Sweep((3e5, -1e5), (0, 0, 1)).points] == [3e5, -1e5]


def test_a_protocol_in_words_names_its_stages_in_turn() -> None:
    assert str(Protocol()) == "start: random; minimised to 0.0001 Ms"
    start = "start: uniform along 0, 0, 1, tilted by 0.02 rad"
    assert str(QUENCHED) == f"{start}; 2 ns at α 0.5 and 300 K in 0, 0, 8 kA/m; minimised to 0.001 Ms"


def test_the_text_of_a_protocol_is_canonical() -> None:
    """It is a part of every id, and a stage without a field of its own has none in it."""
    minimize = '{"minimize":{"max_evaluations":20000,"torque":0.0001}}'
    assert Protocol().to_json() == f'{{"initial":"random","stages":[{minimize}]}}'
    assert QUENCHED.to_json() == (
        '{"initial":{"direction":[0.0,0.0,1.0],"noise":0.02},"stages":['
        '{"quench":{"alpha":0.5,"duration":2e-09,"field":[0.0,0.0,8000.0],"temperature":300.0}},'
        '{"minimize":{"max_evaluations":20000,"torque":0.001}}]}'
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cells": (255, 256)}, "255 is not an even number between 8 and 8192"),
        ({"cells": (6, 256)}, "6 is not an even number between 8 and 8192"),
        ({"cells": (100_000, 256)}, "100000 is not an even number"),
        ({"cells": (254, 256)}, "254 has a prime factor above 7"),
        ({"cells": (256,)}, "cells takes 2 numbers, not 1"),
        ({"cell_size": (4e-9, 0.0, 4e-9)}, "cell_size must be three lengths"),
        ({"cell_size": (4.0, 4.0, 4.0)}, "cell_size must be three lengths in metres"),
        ({"cell_size": (1e-10, 4e-9, 2e-8)}, "no side may be more than 100 times dx or dy"),
        ({"Ms": -1.5e6}, "Ms must be above 0 A/m"),
        ({"Ms": float("nan")}, "Ms must be a finite number"),
        ({"Aex": 0.0}, "Aex must be above 0 J/m"),
        ({"sigma": 1.5}, "sigma is relative to Ku1"),
        ({"dmi": "surface"}, "dmi is one of bulk, interfacial, none"),
        ({"dmi": "none"}, "but dmi is none"),
        ({"field": (0.0, 0.0, float("inf"))}, "field must be a finite number"),
        ({"seed": -1}, "seed must lie between"),
        ({"grain_size": 1e-9}, "grain_size is 0 .* or 4e-09 m"),
        ({"grain_size": -20e-9}, "grain_size is 0"),
        ({"grain_size": float("nan")}, "grain_size must be a finite number"),
        ({"open_edges": "z"}, "open_edges is one of none, x, y, xy, ellipse, not 'z'"),
    ],
)
def test_impossible_films_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        co_like(**change)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Minimize(torque=0), "minimize: torque"),
        (lambda: Minimize(max_evaluations=0), "minimize: max_evaluations"),
        (lambda: Minimize(field=(0, 0, float("nan"))), "field must be a finite number"),
        (lambda: Minimize(field=(0, 0)), "field takes 3 numbers, not 2"),  # type: ignore[arg-type]
        (lambda: Quench(0, 1e-9), "quench: alpha"),
        (lambda: Quench(float("nan"), 1e-9), "quench: alpha"),
        (lambda: Quench(0.5, 0), "quench: duration"),
        (lambda: Quench(0.5, 2.0), "quench: duration lies between 1e-18 s and 1 ms, not 2.0"),
        (lambda: Quench(0.5, 1e-9, -1), "quench: temperature"),
        (lambda: Quench(0.5, 1e-9, field=(0, 0, float("inf"))), "field must be a finite number"),
        (lambda: Random(0), "length of a random start is above 0 and below 1 mm, not 0 m"),
        (lambda: Random(float("nan")), "length must be a finite number"),
        (lambda: Random(4), "above 0 and below 1 mm, not 4 m"),
        (lambda: Uniform((0, 0, 0)), "a direction that is not 0, 0, 0"),
        (lambda: Uniform((0, 0, float("nan"))), "direction must be a finite number"),
        (lambda: Uniform((0, 0, 1), noise=-0.1), "noise is an angle"),
        (lambda: Uniform((0, 0, 1), noise=float("nan")), "noise must be a finite number"),
    ],
)
def test_impossible_stages_and_starts_are_refused(make: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()


@pytest.mark.parametrize("initial", ["up", "down", (0, 0, 1), None])
def test_a_protocol_needs_a_known_start(initial: Any) -> None:
    with pytest.raises(UserError, match="initial, unless it is a Random or Uniform, is one of random, not"):
        Protocol(initial=initial)


def test_a_protocol_needs_a_stage() -> None:
    with pytest.raises(UserError, match="no stages"):
        Protocol(stages=())


def test_a_stage_without_a_field_has_the_films() -> None:
    """0 is a field too."""
    film = co_like(field=(1.0, 2.0, 3.0))
    assert film.in_stage(Minimize()).field == (1.0, 2.0, 3.0)
    assert film.in_stage(Quench(0.5, 1e-9, field=(0.0, 0.0, 0.0))).field == (0.0, 0.0, 0.0)
    assert film.in_stage(Minimize(field=(4.0, 5.0, 6.0))) == replace(film, field=(4.0, 5.0, 6.0))


def test_dmi_beyond_the_critical_value_is_allowed_with_a_warning() -> None:
    """Dc = 4 √(A Keff) / π = 3.05 mJ/m² for the Co-like film."""
    assert co_like().critical_D == pytest.approx(3.05e-3, rel=0.01)
    assert not co_like(D=1e-3).warnings
    assert "beyond the critical 3.0" in co_like(D=4e-3).warnings[0]


SAMPLING = Sampling(
    {"cells": (32, 32), "cell_size": (4e-9,) * 3, **CO_LIKE}, {"D": (1e-4, 1e-3), "sigma": (0.05, 0.2)}, 400, 2026
)


def test_a_plan_draws_uniformly_and_every_film_its_own_seed() -> None:
    films = sample(SAMPLING)
    D = np.array([film.D for film in films])
    assert D.min() >= 1e-4
    assert D.max() < 1e-3
    assert np.abs(np.histogram(D, bins=4, range=(1e-4, 1e-3))[0] - 100).max() < 35  # four standard deviations
    assert len({film.seed for film in films}) == len({film.film_id for film in films}) == 400
    assert abs(np.corrcoef(D, [film.sigma for film in films])[0, 1]) < 0.2


def test_a_longer_plan_begins_with_the_shorter_one() -> None:
    longer = sample(Sampling(SAMPLING.fixed, SAMPLING.ranges, 410, SAMPLING.seed))
    assert longer[:400] == sample(SAMPLING)


def test_a_fifth_of_the_films_is_for_testing() -> None:
    """A binomial count: 80 of 400, standard deviation 8."""
    assert sum(film.split == "test" for film in sample(SAMPLING)) == pytest.approx(80, abs=32)


def test_films_survive_their_plan() -> None:
    films: list[Film] = sample(SAMPLING)[:5]
    plan = plan_table(films, "test")
    assert films_of(plan) == films
    assert plan["film_id"].to_pylist() == [film.film_id for film in films]
    assert plan.schema.field("Ms").metadata == {b"unit": b"A/m"}


def test_films_of_every_kind_survive_their_plan_on_disk(tmp_path: Any) -> None:
    """Each new input, in one film and in all of them at once, through Parquet."""
    changes: list[dict[str, Any]] = [
        {"grain_size": 20e-9},
        {"open_edges": "x"},
        {"open_edges": "ellipse"},
        {"demag": False},
        {"protocol": QUENCHED},
        {"dmi": "interfacial", "D": -1e-3, "field": (1.0, -2.0, 3.0)},
    ]
    together = {name: value for change in changes for name, value in change.items()}
    films = [co_like(seed=i, **change) for i, change in enumerate([*changes, together, {}])]
    pq.write_table(plan_table(films, "test"), tmp_path / "plan.parquet")
    plan = pq.read_table(tmp_path / "plan.parquet")
    assert films_of(plan) == films
    assert [film.film_id for film in films_of(plan)] == plan["film_id"].to_pylist()
    assert plan.schema.field("grain_size").metadata == {b"unit": b"m"}
    assert plan.schema.field("demag").type == pa.bool_()
    assert plan["demag"].to_pylist().count(False) == 2


def test_numbers_of_every_kind_make_the_same_film() -> None:
    """NumPy's scalars come out of every sweep; the id is that of the plain numbers."""
    plain = co_like((32, 32), Ms=1500000.0, seed=7, demag=False, field=(0.0, 0.0, 5.0))
    scalars: dict[str, Any] = {"Ms": np.int64(1_500_000), "seed": np.uint8(7), "demag": np.False_}
    film = co_like((np.int32(32), 32), field=np.array([-0.0, 0, 5]), **scalars)  # type: ignore[arg-type]
    assert film == plain
    assert film.film_id == plain.film_id
    assert (type(film.Ms), type(film.seed), type(film.demag), type(film.cells[0])) == (float, int, bool, int)
    stage: Any = Minimize(np.float64(1e-3), np.int64(7), np.zeros(3))  # type: ignore[arg-type]
    listed = Protocol(Uniform([0, 0, 1]), [stage])  # type: ignore[arg-type]
    assert listed == Protocol(Uniform((0, 0, 1)), (Minimize(1e-3, 7, (0, 0, 0)),))
    assert co_like(protocol=listed).film_id == co_like(protocol=Protocol.from_json(listed.to_json())).film_id


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 1.5}, "seed must be a whole number, not 1.5"),
        ({"seed": True}, "seed must be a whole number, not True"),
        ({"seed": "1"}, "seed must be a whole number, not '1'"),
        ({"seed": 10**5000}, "seed must lie between 0 and 9223372036854775807"),
        ({"cells": (32.0, 32)}, "cells must be a whole number, not 32.0"),
        ({"cells": 32}, "cells: give a list or a tuple, not 32"),
        ({"cells": "32"}, "cells: give a list or a tuple, not '32'"),
        ({"cells": (10**5000, 32)}, "cells must lie between"),
        ({"Ms": "1.5e6"}, "Ms must be a finite number, not '1.5e6'"),
        ({"Ms": True}, "Ms must be a finite number, not True"),
        ({"Ms": np.array([1e6])}, "Ms must be a finite number, not array"),
        ({"Ms": 10**400}, "Ms must be a finite number, not an infinite one"),
        ({"Ms": None}, "Ms must be a finite number, not None"),
        ({"demag": 0}, "demag is True or False, not 0"),
        ({"demag": "no"}, "demag is True or False, not 'no'"),
        ({"dmi": np.array(["bulk", "none"])}, "dmi is one of bulk, interfacial, none, not array"),
        ({"dmi": None}, "dmi is one of"),
        ({"protocol": "random"}, "protocol: give a Protocol, not 'random'"),
        ({"Ms": 1e-310}, "Ms must lie between 1 and 1e"),
        ({"Ms": 1e200}, "Ms must lie between 1 and 1e"),
        ({"Aex": 1e-310}, "Aex must lie between"),
        ({"Ku1": 1e300}, "Ku1 must lie between"),
        ({"D": -1e308}, "D must lie between"),
        ({"cell_size": (1e-310, 4e-9, 4e-9)}, "cell_size must be three lengths in metres between 1e-11 and 1e-6"),
        ({"field": (0, 0, 1e308)}, "field must lie between"),
    ],
)
def test_inputs_of_other_types_are_refused_by_name(change: dict[str, Any], message: str) -> None:
    """Values that another film's id would be made of, and those whose squares leave the range of a float."""
    with pytest.raises(UserError, match=message):
        co_like(**change)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Minimize(max_evaluations=20_000.5),  # type: ignore[arg-type]
        lambda: Minimize(max_evaluations=10**12),
        lambda: Minimize(torque="1e-4"),  # type: ignore[arg-type]
        lambda: Minimize(field=5.0),  # type: ignore[arg-type]
        lambda: Quench("0.5", 1e-9),  # type: ignore[arg-type]
        lambda: Quench(0.5, 1e-310),
        lambda: Quench(0.5, 1e-9, 1e-310),
        lambda: Uniform((1e308, 1e308, 0)),
        lambda: Uniform((1e-310, 0, 0)),
        lambda: Uniform((0, 0, 1), noise=True),
        lambda: Protocol(stages=Minimize()),  # type: ignore[arg-type]
        lambda: Protocol(stages=("minimize",)),  # type: ignore[arg-type]
        lambda: Protocol(stages=(Minimize(),) * 1001),
        lambda: Protocol(initial=np.array(["random"] * 2)),  # type: ignore[arg-type]
    ],
)
def test_inputs_of_a_stage_of_other_types_are_refused(make: Any) -> None:
    with pytest.raises(UserError, match=r"^(minimize|quench|protocol): "):
        make()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "[" * 100_000,
        "{}",
        '{"initial":"random","stages":[{"anneal":{}}]}',
        '{"initial":"random","stages":[{"minimize":{"torque":1e999}}]}',
        '{"initial":"random","stages":[{"minimize":{"tork":1}}]}',
        '{"initial":{"direction":null},"stages":[{"minimize":{}}]}',
        '{"initial":{"length":4e-9,"noise":0},"stages":[{"minimize":{}}]}',
    ],
)
def test_a_damaged_text_of_a_protocol_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"^(minimize|protocol): "):
        Protocol.from_json(text)
