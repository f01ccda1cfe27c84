"""Cleaning mends the faults of real pictures, says so, and leaves clean pictures as they are."""

from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

from magray.errors import UserError
from magray.imaging.cleaning import STEPS, clean, steps_of
from magray.imaging.luminance import luminance
from magray.imaging.scan import Scan

Picture = NDArray[Any]


def labyrinth() -> Picture:
    """Return smooth domains without a direction, 0…1: noise of one wavelength, 20 pixels, at which walls are."""
    field = np.random.default_rng(0).normal(size=(160, 160))
    waves = gaussian_filter(field, 3, mode="wrap") - gaussian_filter(field, 5, mode="wrap")
    return np.asarray((np.tanh(2 * waves / waves.std()) + 1) / 2, np.float32)


CLEAN = labyrinth()
PICTURES = {
    "labyrinth": CLEAN,
    "stripes along the rows": ((np.sin(np.arange(160) / 5)[:, None] + np.zeros(160)) / 2 + 0.5).astype(np.float32),
    "through a microscope": (CLEAN + np.random.default_rng(1).normal(0, 0.05, CLEAN.shape)).astype(np.float32),
}


def similar(one: Picture, other: Picture) -> float:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("shape", [(1, 1), (1, 128), (128, 1), (2, 2), (3, 160)])
def test_pictures_of_a_few_rows_pass_in_silence_or_are_refused(shape: tuple[int, int]) -> None:
    """Later one line tells that a picture is too small for an answer, and not NumPy."""
    rows, columns = shape
    for values in (CLEAN[:rows, :columns], np.zeros(shape, np.float32)):
        with suppress(UserError):
            clean(Scan(values))


@pytest.mark.parametrize("name", PICTURES)
def test_clean_pictures_stay_as_they_are(name: str) -> None:
    cleaned = clean(Scan(PICTURES[name]))
    assert cleaned.done == ()
    np.testing.assert_array_equal(cleaned.values, PICTURES[name])


@pytest.mark.parametrize("name", ["viridis", "jet", "hot", "RdBu", "coolwarm"])
def test_colour_maps_are_undone(name: str) -> None:
    """To two of 256 steps, also where luminance would fold the map as it does for jet and RdBu."""
    colours = (colormaps[name](CLEAN)[..., :3] * 255).astype(np.uint8)
    grey = luminance(np.asarray(colours[..., channel] / 255, np.float32) for channel in range(3))
    cleaned = clean(Scan(grey, colours=colours))
    assert any("colour map" in line for line in cleaned.done)
    assert similar(cleaned.values, CLEAN) > 0.999


def test_colours_that_follow_no_map_are_refused() -> None:
    colours = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    with pytest.raises(UserError, match="no colour map that is known"):
        clean(Scan(colours[..., 0] / np.float32(255), colours=colours))


def test_borders_and_axes_are_cropped() -> None:
    page = np.ones((240, 260), np.float32)
    page[29:191, 39:201] = 0  # the axes
    page[30:190, 40:200] = CLEAN
    page[30:190, 215:225] = np.linspace(0, 1, 160)[:, None]  # the colour bar
    page[100:103, 30:38] = 0  # a tick
    cleaned = clean(Scan(page))
    assert cleaned.values.shape[0] in range(152, 161)
    assert cleaned.values.shape[1] in range(152, 161)
    assert cleaned.values.mean() == pytest.approx(CLEAN.mean(), abs=0.01)


def test_a_border_is_cropped_that_has_the_colour_of_domains() -> None:
    """White around a picture whose domains are white, too; but the white between a few bubbles is no border."""
    sharp = (CLEAN > 0.5).astype(np.float32) * np.float32(0.9) + CLEAN * np.float32(0.1)
    assert clean(Scan(np.pad(sharp, 20, constant_values=1))).values.shape == (160, 160)
    rows, columns = np.ogrid[:160, :160]
    bubbles = sum(np.hypot(rows - y, columns - x) < 12 for y, x in ((60, 50), (100, 90), (50, 110))) > 0
    assert clean(Scan(1 - bubbles.astype(np.float32))).done == ()


def test_a_banner_is_cropped() -> None:
    page = Image.new("L", (160, 190), 255)
    page.paste(Image.fromarray((CLEAN * 200).astype(np.uint8)))
    ImageDraw.Draw(page).text((5, 170), "Kerr 50x 10 mT", fill=0)
    cleaned = clean(Scan(np.asarray(page, np.float32)))
    assert cleaned.values.shape == (160, 160)
    assert "banner" in cleaned.done[0]


def test_a_scale_bar_is_cropped_or_refused() -> None:
    drawn = CLEAN * np.float32(0.8)
    drawn[145:149, 110:150] = 1
    cleaned = clean(Scan(drawn))
    np.testing.assert_array_equal(cleaned.values, drawn[:145])
    inside = CLEAN * np.float32(0.8)
    inside[80:84, 60:100] = 1
    with pytest.raises(UserError, match=r"scale bar .* --crop x,y,w,h"):
        clean(Scan(inside))


def test_a_round_field_of_view_becomes_a_square() -> None:
    rows, columns = np.ogrid[:160, :160]
    seen = np.where(np.hypot(rows - 79.5, columns - 79.5) < 78, CLEAN, 0).astype(np.float32)
    cleaned = clean(Scan(seen))
    side = cleaned.values.shape[0]
    assert cleaned.values.shape == (side, side)
    assert 105 < side < 111
    assert similar(cleaned.values, CLEAN[80 - side // 2 : 80 + side // 2, 80 - side // 2 : 80 + side // 2]) > 0.99


@pytest.mark.parametrize("value", [np.nan, 0.0])
def test_of_a_scan_that_was_stopped_the_finished_part_is_left(value: float) -> None:
    """The rows that are missing have no value, or one that hardly any other pixel has."""
    stopped = PICTURES["through a microscope"].copy()
    stopped[100:] = value
    cleaned = clean(Scan(stopped))
    assert cleaned.done == ("unmeasured: a part that was not measured: cropped to 160 × 100 pixels at (0, 0)",)
    np.testing.assert_array_equal(cleaned.values, stopped[:100])


def test_a_dead_quarter_is_cut_off_with_the_smaller_half() -> None:
    dead = PICTURES["through a microscope"].copy()
    dead[:80, 90:] = dead.min()
    cleaned = clean(Scan(dead))
    assert cleaned.done == ("unmeasured: a part that was not measured: cropped to 90 × 160 pixels at (0, 0)",)
    np.testing.assert_array_equal(cleaned.values, dead[:, :90])


def test_a_domain_in_a_corner_of_a_saturated_picture_is_no_dead_part() -> None:
    """Its black is the black of all other domains."""
    stripes = np.zeros((160, 160), np.float32) + ((np.arange(160) // 30) % 2).astype(np.float32)
    assert clean(Scan(stripes)).done == ()


def test_missing_and_dead_pixels_are_filled() -> None:
    random = np.random.default_rng(0)
    faulty = CLEAN.copy()
    faulty[random.random(CLEAN.shape) < 0.01] = 4
    faulty[random.random(CLEAN.shape) < 0.01] = np.nan
    cleaned = clean(Scan(faulty))
    assert np.isfinite(cleaned.values).all()
    assert np.abs(cleaned.values - CLEAN).max() < 0.5
    with pytest.raises(UserError, match="have no value"):
        clean(Scan(np.where(random.random(CLEAN.shape) < 0.4, np.nan, CLEAN).astype(np.float32)))


def test_dead_pixels_are_filled_where_they_do_not_show() -> None:
    """A white pixel in a bright domain differs little from it, but white pixels in dark domains tell what it is."""
    random = np.random.default_rng(3)
    clean_ = np.clip(0.1 + 0.8 * CLEAN + random.normal(0, 0.02, CLEAN.shape), 0.01, 0.99).astype(np.float32)
    drawn = random.random(CLEAN.shape)
    salted = np.where(drawn < 0.02, 0, np.where(drawn > 0.98, 1, clean_)).astype(np.float32)
    cleaned = clean(Scan(salted)).values
    assert not np.isin(cleaned, (0, 1)).any()
    assert np.sqrt(np.mean((cleaned - clean_) ** 2)) < 0.02
    saturated = np.clip(clean_, 0.01, 0.85)  # a sixth of its pixels, none of them alone
    np.testing.assert_array_equal(clean(Scan(saturated)).values, saturated)


def test_scars_are_mended() -> None:
    scarred = CLEAN.copy()
    for row in (20, 71, 133):
        scarred[row, 30:90] += 1.5
    cleaned = clean(Scan(scarred))
    assert np.abs(cleaned.values - CLEAN).max() < 0.3


def test_scars_are_mended_where_walls_and_noise_break_them() -> None:
    """Brighter by 0.6, cut off at white: seen in dark domains only, and in noise. A sixth of the power is left."""
    noisy = np.clip(CLEAN + np.random.default_rng(2).normal(0, 0.05, CLEAN.shape), 0, 1).astype(np.float32)
    scarred = noisy.copy()
    for row in (20, 71, 133):
        scarred[row, 10:150] = np.clip(scarred[row, 10:150] + 0.6, 0, 1)
    left = clean(Scan(scarred)).values - noisy
    assert np.square(left).mean() < np.square(scarred - noisy).mean() / 6


def test_shifted_rows_and_tilts_are_levelled() -> None:
    shifts = np.random.default_rng(0).normal(0, 0.3, 160)[:, None]
    tilt = 4 * np.linspace(-1, 1, 160) + np.linspace(0, 2, 160)[:, None]
    for fault in (shifts, tilt):
        assert similar(CLEAN + fault, CLEAN) < 0.9
        assert similar(clean(Scan((CLEAN + fault).astype(np.float32))).values, CLEAN) > 0.9


def test_pixels_become_square() -> None:
    cleaned = clean(Scan((CLEAN[::2] + CLEAN[1::2]) / 2, pixel=(10e-9, 20e-9)))
    assert cleaned.values.shape == (160, 160)
    assert cleaned.pixel == 10e-9
    assert similar(cleaned.values, CLEAN) > 0.98


def test_a_step_can_be_turned_off() -> None:
    faulty = Scan((CLEAN + 4 * np.linspace(-1, 1, 160)).astype(np.float32))
    assert clean(faulty, steps_of("-plane")).done == ()
    assert clean(faulty, steps_of("none")).done == ()
    assert [line.partition(":")[0] for line in clean(faulty, steps_of("plane,rows")).done] == ["plane"]
    assert steps_of("all") == tuple(STEPS)
    with pytest.raises(UserError, match="'level' is no step; there are frame, banner"):
        steps_of("level")
    with pytest.raises(UserError, match="clean it with the step square"):
        clean(replace(faulty, pixel=(1e-9, 2e-9)), ())
