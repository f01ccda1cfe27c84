"""A microscope blurs by lengths and not by pixels, adds noise, and is independent of brightness and contrast."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from magray.errors import UserError
from magray.imaging import VIEW_SIZE
from magray.imaging.microscope import Microscope, apply_microscope, blurred, detrend, render_picture

SHARP = Microscope((0.0, 0.0), (0.0, 0.0))


def ripples(cycles: float) -> torch.Tensor:
    """Return a view (1, 128, 128) with `cycles` of a cosine along its rows, even about the middle: without a slope."""
    x = (torch.arange(VIEW_SIZE) + 0.5) / VIEW_SIZE - 0.5
    return torch.cos(2 * torch.pi * cycles * x).expand(1, VIEW_SIZE, VIEW_SIZE).contiguous()


def test_a_blur_is_the_convolution_with_a_gaussian() -> None:
    pictures = torch.randn(2, VIEW_SIZE, VIEW_SIZE, generator=torch.Generator().manual_seed(0))
    shown = blurred(pictures, torch.tensor([1.5, 4.0]))
    for picture, after, spread in zip(pictures, shown, (1.5, 4.0), strict=True):
        expected = gaussian_filter(picture.numpy(), spread, truncate=8)
        np.testing.assert_allclose(after[32:-32, 32:-32], expected[32:-32, 32:-32], atol=1e-5)


def test_a_point_spread_far_below_a_pixel_changes_nothing() -> None:
    pictures = torch.randn(1, VIEW_SIZE, VIEW_SIZE, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(blurred(pictures, torch.zeros(1)), pictures)


@pytest.mark.parametrize(("scale_um", "cycles"), [(0.5, 8), (1.0, 16), (2.0, 32)])
def test_the_same_film_is_blurred_as_much_at_every_scale(scale_um: float, cycles: int) -> None:
    """Ripples of 64 nm: a point spread of 20 nm leaves exp(−2 (π 20/64)²) of them, whatever the size of a pixel."""
    spread = torch.tensor([20.0]) * VIEW_SIZE / (scale_um * 1024)
    left = blurred(ripples(cycles), spread)[0, 64, 32:-32].abs().max() / ripples(cycles)[0, 64].abs().max()
    assert left == pytest.approx(np.exp(-2 * (np.pi * 20 / 64) ** 2), rel=0.02)


def test_a_blur_in_pixels_is_the_same_at_every_scale_and_adds_to_the_one_in_nanometres() -> None:
    """Point spreads of 3 and 4 pixels make one of 5. At 1.024 µm a pixel has 8 nm."""
    narrow, both = (Microscope((nm, nm), (0.0, 0.0), (px, px)) for nm, px in ((0.0, 5.0), (32.0, 3.0)))
    views = ripples(5).repeat(2, 1, 1)
    at_two_scales = narrow.pictures(views, torch.tensor([0.5, 2.0]))
    torch.testing.assert_close(at_two_scales[0], at_two_scales[1])
    torch.testing.assert_close(both.pictures(views, torch.ones(2)), at_two_scales)
    assert str(both) == "a point spread of 32 to 32 nm and 3 to 3 pixels and noise of 0 to 0"


def test_brightness_contrast_and_uneven_light_leave_no_trace() -> None:
    x = torch.linspace(0, 1, VIEW_SIZE)
    clean = detrend(ripples(5))
    spoiled = detrend(0.3 * ripples(5) + 0.8 + 0.5 * x - 0.2 * x[:, None])
    torch.testing.assert_close(spoiled, clean, atol=1e-5, rtol=0)
    assert clean.mean().abs() < 1e-6
    assert clean.std() == pytest.approx(1.0, abs=1e-3)


def test_a_picture_without_contrast_stays_flat() -> None:
    assert detrend(torch.full((1, VIEW_SIZE, VIEW_SIZE), 0.7)).abs().max() < 0.1


def test_noise_is_white_and_has_the_given_strength() -> None:
    """A cosine has a variance of 1/2; detrending divides by the standard deviation of both."""
    noisy = Microscope((0.0, 0.0), (0.5, 0.5)).pictures(ripples(5), torch.ones(1), torch.Generator().manual_seed(0))
    added = noisy * np.sqrt(0.5 + 0.25) - ripples(5)
    assert added.std() == pytest.approx(0.5, rel=0.03)
    assert (added[:, :, 1:] * added[:, :, :-1]).mean().abs() < 0.01


def test_every_picture_draws_its_own_blur_and_noise_the_same_ones_for_the_same_seed() -> None:
    views = ripples(20).repeat(3, 1, 1)
    microscope = Microscope((0.0, 30.0), (0.0, 0.5))
    shown, again = (microscope.pictures(views, torch.ones(3), torch.Generator().manual_seed(4)) for _ in range(2))
    assert torch.equal(shown, again)
    assert not torch.allclose(shown[0], shown[1], atol=0.1)


def test_a_rendered_picture_is_blurred_noisy_and_in_full_contrast() -> None:
    image = np.rint(ripples(8)[0].numpy() * 100 + 100).astype(np.uint8)
    clear = render_picture(image, 0.5, SHARP)
    assert clear.shape == (VIEW_SIZE, VIEW_SIZE)
    assert (clear.min(), clear.max()) == (0, 255)
    assert np.corrcoef(clear.ravel(), image.ravel())[0, 1] > 0.99
    spoiled = render_picture(image, 0.5, Microscope((20.0, 20.0), (0.3, 0.3)))
    assert np.corrcoef(spoiled.ravel(), image.ravel())[0, 1] < 0.9


def test_films_are_seen_as_they_are_without_a_microscope() -> None:
    views = torch.tensor([[[0.0, 255.0]]])
    torch.testing.assert_close(apply_microscope(views, None, None), torch.tensor([[[-1.0, 1.0]]]))
    with pytest.raises(UserError, match="needs the picture's scale"):
        apply_microscope(views, None, SHARP)


def test_views_of_one_film_are_seen_through_the_same_instrument() -> None:
    """Two films of two views: the blur is the film's own, and noise is new in every view."""
    views = ripples(16).expand(4, VIEW_SIZE, VIEW_SIZE)
    draws = torch.Generator().manual_seed(0)
    one, same, other, _ = Microscope((0.0, 40.0), (0.0, 0.0)).pictures(views, torch.ones(4), draws, of_film=2)
    torch.testing.assert_close(one, same)
    assert (one - other).abs().max() > 0.1
    one, same, *_ = Microscope((0.0, 0.0), (0.1, 0.1)).pictures(views, torch.ones(4), draws, of_film=2)
    assert (one - same).std() > 0.05
