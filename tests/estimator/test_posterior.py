"""The sampler of a film's constants, on made-up pictures whose posterior is known in closed form."""

import math

import numpy as np
import pytest
import torch

from magray.errors import Refused
from magray.estimator.densities import Nodes
from magray.estimator.knowns import Knowledge, Normal, Range
from magray.estimator.posterior import SHARED, Samples, asked_of, error_budget, estimate_of, sample
from magray.films.reduced import critical_dmi, stray_energy, wall_energy, wall_width
from magray.units import MU0
from tests.support.gaussian_heads import TRAINED, GaussianHeads, made_up_picture

MS, KEFF, AEX, D, THICKNESS, PIXEL = 1.2e6, 0.25e6, 13e-12, 0.9e-3, 6e-9, 4e-9
EXACT: dict[str, object] = {"Ms": MS, "Keff": KEFF, "thickness": THICKNESS}
LOG_DELTA = math.log(wall_width(AEX, KEFF) / PIXEL)
LOG_S = math.log(wall_energy(AEX, KEFF, D) / (MU0 * MS**2 * THICKNESS))
PICTURE = made_up_picture(LOG_DELTA, LOG_S, PIXEL)
FLAT = GaussianHeads(error=(0.02, 0.05), mean=(LOG_DELTA, LOG_S), spread=(2.0, 2.0))  # next to no prior


def medians(values: np.ndarray) -> tuple[float, float]:
    low, middle, high = np.quantile(values, [0.16, 0.5, 0.84])
    return float(middle), float(high - low) / 2


def test_the_film_of_a_picture_comes_back() -> None:
    found = sample(FLAT, [PICTURE], Knowledge.of(EXACT), TRAINED).constants
    assert medians(found["Aex"])[0] == pytest.approx(AEX, rel=0.01)
    assert medians(found["D"])[0] == pytest.approx(D, rel=0.02)


def test_errors_of_the_wall_become_those_of_the_constants() -> None:
    """Aex = Keff Δ², so 2 % of δ are 4 % of Aex; with Aex known only s blurs D, by 5 % of σw / π."""
    found = sample(FLAT, [PICTURE], Knowledge.of(EXACT), TRAINED).constants
    assert medians(found["Aex"])[1] == pytest.approx(0.04 * AEX, rel=0.05)
    found = sample(FLAT, [PICTURE], Knowledge.of({**EXACT, "Aex": AEX}), TRAINED).constants
    assert medians(found["D"])[1] == pytest.approx(0.05 * wall_energy(AEX, KEFF, D) / math.pi, rel=0.05)


def test_a_known_aex_and_the_picture_are_combined_by_their_precisions() -> None:
    """log Aex: 4 % from the picture and 3 % from the user make (0.04⁻² + 0.03⁻²)^−½ = 2.4 %."""
    off = AEX * math.exp(0.05)  # what the user says
    found = sample(FLAT, [PICTURE], Knowledge.of({**EXACT, "Aex": Normal(off, 0.03 * off)}), TRAINED).constants
    value, error = medians(np.log(found["Aex"] / AEX))
    assert error == pytest.approx(0.024, rel=0.06)
    assert value == pytest.approx(0.05 * 0.04**2 / (0.04**2 + 0.03**2), abs=0.002)


def test_a_range_of_d_is_what_was_expected_before_the_picture() -> None:
    """Of what the picture says, a range from its D on leaves the upper half; D is still asked for."""
    free = sample(FLAT, [PICTURE], Knowledge.of({**EXACT, "Aex": AEX}), TRAINED).constants["D"]
    knowledge = Knowledge.of({**EXACT, "Aex": AEX, "D": Range(D, 2 * D)})
    found = sample(FLAT, [PICTURE], knowledge, TRAINED).constants["D"]
    assert asked_of(knowledge) == ("D",)
    assert found.min() >= D
    assert np.median(found) == pytest.approx(np.quantile(free, 0.75), rel=0.01)


def test_an_error_of_ms_moves_d_as_the_wall_energy_says() -> None:
    """At a given Keff and s, σw ∝ Ms²: 4 % of Ms are 8 % of σw / π."""
    sharp = GaussianHeads(error=(0.001, 0.001), mean=(LOG_DELTA, LOG_S), spread=(2.0, 2.0))
    found = sample(sharp, [PICTURE], Knowledge.of({**EXACT, "Ms": Normal(MS, 0.04 * MS)}), TRAINED).constants
    assert medians(found["D"])[1] == pytest.approx(0.08 * wall_energy(AEX, KEFF, D) / math.pi, rel=0.06)


def test_ms_comes_from_a_picture_where_d_and_aex_are_known() -> None:
    """At a given Keff, s ∝ Ms⁻²: 5 % of s are 2.5 % of Ms."""
    known = {"Keff": KEFF, "thickness": THICKNESS, "Aex": AEX, "D": D}
    knowledge = Knowledge.of(known)
    assert asked_of(knowledge) == ("Ms",)
    value, error = medians(sample(FLAT, [PICTURE], knowledge, TRAINED).constants["Ms"])
    assert value == pytest.approx(MS, rel=0.01)
    assert error == pytest.approx(0.025 * MS, rel=0.1)


def test_two_pictures_of_a_film_shrink_the_bar_as_errors_do_that_are_correlated() -> None:
    """Each tells log δ and log s with an error that is partly its own; pictures of another scale as well."""
    other = made_up_picture(LOG_DELTA + math.log(2), LOG_S, PIXEL / 2)
    knowledge = Knowledge.of(EXACT)
    one, two = (sample(FLAT, pictures, knowledge, TRAINED) for pictures in ([PICTURE], [PICTURE, other]))
    for name in ("Aex", "D"):
        ratio = medians(one.constants[name])[1] / medians(two.constants[name])[1]
        assert ratio == pytest.approx(math.sqrt(2 / (1 + SHARED)), rel=0.06)
    assert two.log_agreement > 2


def test_pictures_that_contradict_each_other_do_not_look_like_one_film() -> None:
    """Ten standard errors apart in δ: another film for each explains them far better."""
    other = made_up_picture(LOG_DELTA + 0.28, LOG_S, PIXEL)
    assert sample(FLAT, [PICTURE, other], Knowledge.of(EXACT), TRAINED).log_agreement < math.log(1e-3)


def test_a_picture_tells_which_constants_cannot_be_meant() -> None:
    """It says log Q1 within 0.3, and the film that is told lies three errors off; a vague Keff follows the picture.

    The density of log Q1 is normal, times Q1 (Keff is uniform in its range), over the training's, normal about −1
    within 1.5: its peak lies 0.3² (1 + (log Q1 + 1) / 1.5²) above what the picture says.
    """
    Q1 = KEFF / stray_energy(MS)
    heads = GaussianHeads(FLAT.error, FLAT.mean, FLAT.spread, pair=(math.log(Q1) + 0.9, 0.0))
    exact = sample(heads, [PICTURE], Knowledge.of(EXACT), TRAINED)
    assert exact.log_evidence < sample(FLAT, [PICTURE], Knowledge.of(EXACT), TRAINED).log_evidence - 1
    vague = sample(heads, [PICTURE], Knowledge.of({**EXACT, "Keff": Range(0.1e6, 1.2e6)}), TRAINED)
    told = math.log(Q1) + 0.9
    peak = (told + 0.09 * (1 + 1 / 2.25)) / (1 - 0.09 / 2.25)
    assert np.median(vague.constants["Keff"]) / stray_energy(MS) == pytest.approx(math.exp(peak), rel=0.03)


def test_a_second_anisotropy_sharpens_the_first() -> None:
    """Keff with 10 %, and Ku1 such that Keff has the same error again: 1/√2 of it is left."""
    Keff = Normal(KEFF, 0.1 * KEFF)
    Ku1 = Normal(KEFF + stray_energy(MS), 0.1 * KEFF)
    found = sample(FLAT, [PICTURE], Knowledge.of({**EXACT, "Keff": Keff, "Ku1": Ku1}), TRAINED).constants
    assert medians(found["Keff"])[1] == pytest.approx(0.1 * KEFF / math.sqrt(2), rel=0.06)


def test_ranks_of_the_true_films_are_uniform() -> None:
    """Simulation-based calibration (Talts et al., arXiv:1804.06788): films of the prior, and pictures of them."""
    random = np.random.default_rng(3)
    heads = GaussianHeads(error=(0.05, 0.2), mean=(LOG_DELTA, LOG_S - 1), spread=(0.2, 0.3))
    ranks: list[float] = []
    while len(ranks) < 150:
        Ms = random.normal(MS, 0.03 * MS)
        log_delta, log_s = random.normal(heads.mean, heads.spread)
        Aex = KEFF * (math.exp(log_delta) * PIXEL) ** 2
        true = (4 * math.sqrt(Aex * KEFF) - math.exp(log_s) * MU0 * Ms**2 * THICKNESS) / math.pi
        if not 0 < true < TRAINED.d * critical_dmi(Aex, KEFF):
            continue
        read_delta, read_s = random.normal((log_delta, log_s), heads.error)
        picture = made_up_picture(read_delta, read_s, PIXEL)
        known = Knowledge.of({**EXACT, "Ms": Normal(MS, 0.03 * MS)})
        found = sample(heads, [picture], known, TRAINED, draws=1024, seed=len(ranks)).constants["D"]
        ranks.append(float(np.mean(found < true)))
    counts = np.histogram(ranks, bins=5, range=(0, 1))[0]
    assert np.square(counts - 30).sum() / 30 < 13.3  # χ² with 4 degrees of freedom: 1 % of the time by chance


def test_the_budget_adds_up_to_the_error() -> None:
    known = {"Ms": Normal(MS, 0.04 * MS), "Keff": Normal(KEFF, 0.02 * KEFF), "thickness": THICKNESS, "Aex": AEX}
    knowledge = Knowledge.of(known)
    found = sample(FLAT, [PICTURE], knowledge, TRAINED)
    estimates = {"D": estimate_of(found.constants["D"], "J/m2")}
    (budget,) = error_budget(FLAT, [PICTURE], knowledge, TRAINED, found, estimates).values()
    assert set(budget) == {"picture", "Ms", "Keff"}  # what is exact has no share
    assert math.hypot(*budget.values()) == pytest.approx(estimates["D"].error)
    sigma = wall_energy(AEX, KEFF, D) / math.pi
    assert budget["Ms"] == pytest.approx(0.08 * sigma, rel=0.2)
    assert budget["picture"] == pytest.approx(0.05 * sigma, rel=0.2)


def test_intervals_are_stretched_about_the_median_and_stay_above_zero() -> None:
    values = np.random.default_rng(0).normal(1.0, 0.3, 100_000)
    plain, wide = estimate_of(values, "J/m2"), estimate_of(values, "J/m2", (2.0, 2.0))
    assert plain.error == pytest.approx(0.3, rel=0.02)
    assert wide.error == pytest.approx(0.6, rel=0.02)
    assert wide.low95 == 0
    assert wide.high95 == pytest.approx(1 + 2 * 1.96 * 0.3, rel=0.02)


@pytest.mark.parametrize(
    ("known", "problem"),
    [
        ({"Keff": 20 * KEFF}, "5.53 lies outside the 0.02 to 4 of the training"),
        ({"thickness": 100e-9}, "thickness: 25 pixels"),
        ({"Aex": 400 * AEX}, "no film of the training"),
        ({"Aex": 0.01 * AEX}, "thickness: .* widths of a wall"),
        ({"D": 20 * D}, "D is above 0.97 of the critical D"),
    ],
)
def test_films_outside_of_the_training_are_refused_with_the_number_that_is_out(
    known: dict[str, object], problem: str
) -> None:
    with pytest.raises(Refused, match=problem):
        sample(FLAT, [PICTURE], Knowledge({k: Normal(float(v)) for k, v in {**EXACT, **known}.items()}), TRAINED)  # type: ignore[arg-type]


def test_walls_that_cost_nothing_may_be_those_of_a_larger_D() -> None:
    """Where log s is as small as at d = 0.97, within 0.2, half of what the picture says lies above."""
    Dc, knowledge = float(critical_dmi(AEX, KEFF)), Knowledge.of({**EXACT, "Aex": AEX})

    def seen(d: float) -> Samples:
        log_s = math.log(wall_energy(AEX, KEFF, d * Dc) / (MU0 * MS**2 * THICKNESS))
        return sample(FLAT, [made_up_picture(LOG_DELTA, log_s, PIXEL)], knowledge, TRAINED)

    assert seen(0.6).outside["d"] < 0.01
    assert 0.3 < seen(0.97).outside["d"] < 0.7
    with pytest.raises(Refused, match=r"D is above 0\.97 of the critical D"):
        seen(0.99)


def drawn(spread_Q1: float, spread_tau: float, draws: int = 4096) -> tuple[torch.Tensor, torch.Tensor]:
    """Return log Q1 and log τ of draws of constants with such relative errors."""
    random = torch.Generator().manual_seed(0)
    log_Q1, log_tau = torch.randn(2, draws, generator=random) * torch.tensor([[spread_Q1], [spread_tau]])
    return log_Q1 - 1, log_tau + 2


@pytest.mark.parametrize(("spreads", "most"), [((0.0, 0.0), 1), ((0.05, 0.0), 20), ((0.05, 0.1), 600)])
def test_a_few_nodes_do_for_draws_of_well_known_constants(spreads: tuple[float, float], most: int) -> None:
    """The draws lie between the nodes: numbers that are linear in log Q1 and log τ come back."""
    numbers = drawn(*spreads)
    nodes = Nodes.of(*numbers)
    assert len(nodes.log_Q1) <= most
    assert nodes.places is not None
    assert nodes.shares is not None
    for node, number in zip((nodes.log_Q1, nodes.log_tau), numbers, strict=True):
        torch.testing.assert_close((nodes.shares * node[nodes.places]).sum(1), number, atol=1e-5, rtol=0.0)


def test_draws_that_lie_far_apart_are_nodes_themselves() -> None:
    log_Q1, log_tau = drawn(2.0, 2.0)
    nodes = Nodes.of(log_Q1, log_tau)
    assert nodes.places is None
    assert nodes.log_Q1 is log_Q1
