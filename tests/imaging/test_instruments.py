"""Models of instruments against closed forms in real space, and against the statistics of counting."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import j0, j1

from magray.errors import UserError
from magray.imaging.instruments import RANGES, Magnetisation
from magray.imaging.instruments.asymmetry import Asymmetry, PeemRanges, StxmRanges
from magray.imaging.instruments.kerr import Kerr, KerrRanges
from magray.imaging.instruments.mfm import Mfm, MfmRanges
from magray.imaging.instruments.nv import Nv, NvRanges
from magray.units import MU0

Array = NDArray[np.float64]
MS, THICKNESS = 1e6, 20e-9
MFM = {
    "lift": 40e-9,
    "pole": 1e-9,
    "tip_width": 0.0,
    "tip_length": 1.0,
    "canting": 0.0,
    "azimuth": 0.0,
    "noise": 1e-9,
    "row_noise": 0.0,
    "scars": 0.0,
}
NV = {"height": 40e-9, "angle": 0.0, "azimuth": 0.0, "unsigned": 0.0, "noise": 1e-9}


def mfm(**changes: float) -> Mfm:
    return MfmRanges.at(**{**MFM, **changes}).draw(1, torch.Generator().manual_seed(2))


def nv(**changes: float) -> Nv:
    return NvRanges.at(**{**NV, **changes}).draw(1)


def film_of(m: Array, cell: float = 4e-9) -> Magnetisation:
    one = torch.tensor([1.0])
    return Magnetisation(torch.from_numpy(m.astype(np.float32))[None], cell * one, THICKNESS * one, MS * one)


def places(cells: int, cell: float) -> Array:
    """Return the middles of cells, m, from the middle of a row on."""
    return np.asarray((np.arange(cells) + 0.5 - cells / 2) * cell)


def stripe(cells: int = 512, rows: int = 8) -> Array:
    """Return mz (rows, cells) of a pair of stripes: up in the right half, down in the left."""
    return np.broadcast_to(np.where(np.arange(cells) < cells // 2, -1.0, 1.0), (rows, cells)).copy()


def field_of_stripes(x: Array, height: float, period: float) -> tuple[Array, Array]:
    """Return Hx and Hz, A/m, above sharp stripes that turn up at x = 0, of charged half planes in real space.

    A wall at 0 makes Hz = Ms/π (arctan(x/z) − arctan(x/(z + t))) and Hx = −Ms/2π ln((x² + (z + t)²) / (x² + z²)).
    """
    Hx, Hz, far = np.zeros_like(x), np.zeros_like(x), height + THICKNESS
    for number in range(-2000, 2001):
        sign, at = (-1) ** number, x - number * period / 2
        Hz += sign * MS / np.pi * (np.arctan(at / height) - np.arctan(at / far))
        Hx -= sign * MS / (2 * np.pi) * np.log((at**2 + far**2) / (at**2 + height**2))
    return Hx, Hz


def test_a_magnetometer_sees_the_field_of_charged_half_planes() -> None:
    """Along the normal, and at 54.7° to it. A wall lies between two cells, and the field is smooth at ten cells."""
    cells, cell = 512, 4e-9
    Hx, Hz = field_of_stripes(places(cells, cell), NV["height"], cells * cell)
    angle = math.radians(54.7)
    for one, expected in ((nv(), Hz), (nv(angle=angle), math.cos(angle) * Hz + math.sin(angle) * Hx)):
        seen = one.signal(film_of(stripe(cells)))[0, 3].numpy() / MU0
        np.testing.assert_allclose(seen, expected, atol=0.004 * np.abs(expected).max())


def test_a_magnetometer_without_a_bias_does_not_tell_the_sign() -> None:
    film = film_of(stripe())
    torch.testing.assert_close(nv(unsigned=1.0).signal(film), nv().signal(film).abs())


def test_neel_walls_have_charges_of_their_own() -> None:
    """A film of plane moments with mx = cos kx has only volume charges, and Hz = ½ Ms (1 − e^−kt) e^−kz sin kx."""
    cells, cell = 256, 4e-9
    x, k = places(cells, cell), 2 * math.pi / (64 * cell)
    m = np.zeros((3, 8, cells))
    m[0] = np.cos(k * x)
    expected = 0.5 * MS * -np.expm1(-k * THICKNESS) * np.exp(-k * NV["height"]) * np.sin(k * x)
    np.testing.assert_allclose(nv().signal(film_of(m))[0, 0].numpy() / MU0, expected, atol=1e-3 * expected.max())


def test_a_long_tip_sees_the_gradient_of_the_field_of_charged_half_planes() -> None:
    """A monopole feels µ0 q Hz. Its gradient, of real-space fields a nanometre apart, is that of the filter."""
    cells, cell, step = 512, 4e-9, 0.5e-9
    x, lift = places(cells, cell), MFM["lift"]
    (_, above), (_, below) = (field_of_stripes(x, lift + way * step, cells * cell) for way in (1, -1))
    expected = MU0 * MFM["pole"] * (above - below) / (2 * step)
    one = mfm()
    seen = one.signal(film_of(stripe(cells)))[0, 3].numpy() * np.sign(float(one.pole))
    np.testing.assert_allclose(seen, expected, atol=0.01 * np.abs(expected).max())


def test_a_short_tip_sees_the_second_derivative() -> None:
    """A bar that is short for a cosine of wave number k is a dipole: k L of what a long one sees."""
    cells, cell = 256, 4e-9
    k = 2 * math.pi / (128 * cell)
    film = film_of(np.broadcast_to(np.cos(k * places(cells, cell)), (8, cells)))
    short, long = (one.signal(film) for one in (mfm(tip_length=1e-9), mfm()))
    torch.testing.assert_close(short, k * 1e-9 * long, rtol=0.01, atol=0.0)


def test_a_canted_lever_shifts_the_picture_along_the_canting() -> None:
    """(k cos β − i k sin β)² = k² exp(−2iβ): a wave along the canting moves by a phase of 2β, one across stays."""
    cells, cell, canting = 128, 4e-9, math.radians(12)
    k, x = 2 * math.pi / (32 * cell), places(cells, cell)
    along, across = (film_of(np.cos(k * part) + np.zeros((cells, cells))) for part in (x, x[:, None]))
    ratio = float((mfm(canting=canting).signal(across) / mfm().signal(across)).median())
    assert ratio == pytest.approx(math.cos(canting) ** 2, rel=1e-3)
    upright = torch.fft.rfft(mfm().signal(along)[0, 0])[4]
    turned = torch.fft.rfft(mfm(canting=canting).signal(along)[0, 0])[4]
    assert complex(turned / upright) == pytest.approx(complex(math.cos(2 * canting), -math.sin(2 * canting)), abs=1e-3)


def test_both_signs_of_a_tip_are_drawn() -> None:
    poles = MfmRanges().draw(200, torch.Generator().manual_seed(0)).pole
    assert 60 < int((poles > 0).sum()) < 140
    assert float(poles.abs().min()) >= 3e-10


def test_scars_are_parts_of_rows_and_the_rest_is_as_noisy_as_told() -> None:
    picture = torch.zeros(1, 400, 128)
    picture[:, :, 64:] = 1.0
    added = mfm(noise=0.01, scars=0.1).measured(picture, torch.Generator().manual_seed(0)) - picture
    torn = (added.abs() > 0.1).any(2)[0]
    assert 20 < int(torn.sum()) < 60
    assert float(added[0, ~torn].std()) == pytest.approx(0.01, rel=0.03)


def kerr(**changes: float) -> Kerr:
    plain = {"aperture": 0.9, "wavelength": 500e-9, "contrast": 0.01, "electrons": 1e6, "shading": 0.0}
    return KerrRanges.at(**{**plain, "centre": 0.0, "drift": 0.0, "flicker": 0.0, **changes}).draw(1)


def test_a_lens_shows_a_point_as_an_airy_disk() -> None:
    """Its first zero lies at 0.61 λ/NA, within which are 83.8 % of the light; and it is (2 J1(v) / v)² all over."""
    cells, cell = 512, 20e-9
    point = np.zeros((cells, cells))
    point[cells // 2, cells // 2] = 1.0
    seen = kerr(contrast=1.0).signal(film_of(point, cell))[0].double().numpy()
    place = (np.arange(cells) - cells // 2) * cell
    r = np.hypot(place, place[:, None])
    v = 2 * np.pi * 0.9 * np.maximum(r, 1e-15) / 500e-9
    airy = (2 * j1(v) / v) ** 2
    np.testing.assert_allclose(seen / seen.max(), airy, atol=2e-3)
    zero = 0.61 * 500e-9 / 0.9
    row = seen[cells // 2, cells // 2 :]
    first = int(np.argmax(np.diff(row) > 0))
    assert abs(first * cell - zero) <= cell
    inside = 1 - j0(3.8317) ** 2 - j1(3.8317) ** 2
    assert inside == pytest.approx(0.838, abs=1e-3)
    assert seen[r < zero].sum() / seen.sum() == pytest.approx(inside, abs=0.01)


def test_a_difference_of_two_exposures_has_twice_the_shot_noise() -> None:
    seen = kerr(electrons=1e4).measured(torch.zeros(1, 256, 256), torch.Generator().manual_seed(0))
    assert float(seen.std()) == pytest.approx(math.sqrt(2 / 1e4), rel=0.02)


def test_uneven_light_cancels_out_but_for_its_drift() -> None:
    """Of the paraboloid 1 − s r²/2, shifted by d, a slope s d x is left: here 0.4 · 0.02 = 0.008 at the edge."""
    picture = torch.zeros(1, 64, 64)
    bright = {"electrons": 1e12, "shading": 0.4}
    still, moved = (kerr(**bright, drift=drift).measured(picture)[0] for drift in (0.0, 0.02))
    assert float(still.abs().max()) < 1e-4
    slope = moved[32] * (1 - 0.2 * torch.linspace(-1, 1, 64) ** 2)
    torch.testing.assert_close(slope, 0.008 * torch.linspace(-1, 1, 64) - 8e-5, atol=3e-5, rtol=0.0)


def stxm(**changes: float) -> Asymmetry:
    plain = {"resolution": 40e-9, "incidence": 0.0, "azimuth": 0.0, "contrast": 0.1, "counts": 1e4}
    return StxmRanges.at(**{**plain, **changes}).draw(1)


def test_an_asymmetry_has_the_variance_of_two_poisson_counts() -> None:
    """(1 − A²) / N: binomial, where N is large."""
    generator = torch.Generator().manual_seed(0)
    for level, counts in ((0.0, 100.0), (0.8, 400.0)):
        seen = stxm(counts=counts).measured(torch.full((1, 256, 256), level), generator)
        assert float(seen.mean()) == pytest.approx(level, abs=2e-3)
        assert float(seen.var()) == pytest.approx((1 - level**2) / counts, rel=0.03)


def test_a_resolution_is_the_width_of_a_point_at_half_its_height() -> None:
    point = np.zeros((64, 64))
    point[32, 32] = 1.0
    row = stxm().signal(film_of(point))[0, 32].numpy()
    assert row[32 + 5] / row[32] == pytest.approx(0.5, abs=0.01)  # five cells of 4 nm


def test_light_at_an_angle_sees_components_in_the_plane() -> None:
    m = np.zeros((3, 16, 16))
    m[0], m[1], m[2] = 0.36, 0.48, 0.8
    incidence, azimuth = math.radians(70), math.radians(30)
    seen = stxm(incidence=incidence, azimuth=azimuth).signal(film_of(m))
    in_plane = 0.36 * math.cos(azimuth) + 0.48 * math.sin(azimuth)
    expected = 0.1 * (0.8 * math.cos(incidence) + in_plane * math.sin(incidence))
    torch.testing.assert_close(seen, torch.full_like(seen, expected))
    assert PeemRanges().oblique
    assert not StxmRanges().oblique


@pytest.mark.parametrize("name", sorted(RANGES))
def test_every_instrument_shows_domains_of_its_own_size(name: str) -> None:
    """Stripes of two micrometres: what is measured goes up and down with mz, or with the field at its walls."""
    film = film_of(stripe(256, 64), 16e-9)
    generator = torch.Generator().manual_seed(1)
    seen = [
        one.measured(one.signal(film), generator)[0] for one in (RANGES[name]().draw(1, generator) for _ in range(6))
    ]
    assert all(bool(torch.isfinite(picture).all()) for picture in seen)
    up = torch.from_numpy(stripe(256, 64))
    likeness = [abs(float(torch.corrcoef(torch.stack([one.flatten(), up.flatten()]))[0, 1])) for one in seen]
    assert max(likeness) > 0.3


def test_the_same_seed_draws_the_same_instrument() -> None:
    first, again = (MfmRanges().draw(3, torch.Generator().manual_seed(4)) for _ in range(2))
    assert torch.equal(first.lift, again.lift)
    assert len({round(value * 1e12) for value in first.lift.tolist()}) == 3


def test_a_range_begins_with_its_smaller_end() -> None:
    with pytest.raises(UserError, match=r"lift: give \[smallest, largest\]"):
        MfmRanges(lift=(2e-8, 1e-8))
    with pytest.raises(UserError, match="above 0"):
        replace(MfmRanges(), noise=(0.0, 1e-5))
