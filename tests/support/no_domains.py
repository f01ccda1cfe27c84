"""Pictures (512, 512) that show no magnetic domains."""

import numpy as np
from matplotlib.cbook import get_sample_data
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

Picture = NDArray[np.float64]
SIDE = 512


def no_domains(seed: int = 0) -> dict[str, Picture]:
    """Return pictures by what they show: noise of many kinds, letters, a face, grains, a plot's shapes."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE]
    made = {
        "white noise": random.normal(size=(SIDE, SIDE)),
        "small letters": _letters(20),
        "large letters": _letters(44),
        "face": np.asarray(Image.open(get_sample_data("grace_hopper.jpg", asfileobj=False)).convert("L"), float)[:SIDE],
        "grains": random.uniform(size=300)[cKDTree(random.uniform(0, SIDE, (300, 2))).query(np.stack([y, x], -1))[1]],
        "slope": x + 0.5 * y,
        "chequers": ((x // 32 + y // 32) % 2).astype(float),
        "one edge": (x > 250).astype(float),
        "disc": (np.hypot(x - 256, y - 256) < 150).astype(float),
        "wave": np.cos(x / 8),
    }
    made |= {f"noise, blurred by {s} pixels": gaussian_filter(random.normal(size=(SIDE, SIDE)), s) for s in (1, 2, 4)}
    return made | {f"clouds, f^-{power}": _clouds(power, random) for power in (1.0, 1.5, 2.0)}


def _letters(size: int) -> Picture:
    picture = Image.new("L", (SIDE, SIDE), 255)
    words = "\n".join("the quick brown fox jumps over the lazy dog"[i:] for i in range(30))
    ImageDraw.Draw(picture).multiline_text((5, 5), words, fill=0, font=ImageFont.load_default(size))
    return np.asarray(picture, float)


def _clouds(power: float, random: np.random.Generator) -> Picture:
    k = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.fftfreq(SIDE))
    k[0, 0] = 1
    return np.asarray(np.fft.ifft2(np.fft.fft2(random.normal(size=(SIDE, SIDE))) / k**power).real)
