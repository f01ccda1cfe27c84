"""Measure how much edits of a picture move the any-film estimator's answer: what people do to pictures, and programs.

    python -m benchmarks.picture_edits --films 10 --output picture-edits.json
    python -m benchmarks.picture_edits --films 10 --store runs/any-film/films-256/store

Each film's picture, with a blur and a noise, is written as PNG and read as `magray estimate` reads it; then each edit
of it. Printed are, per edit, the mean and the largest shift of D, in error bars of the unedited picture's answer, over
edits that are not refused, the median of their own bars, in bars of the unedited picture's answer, and the shares of
answers that are refused and doubtful. Films are simulated here (benchmarks.any_film), or are those of a store.
"""

import argparse
import json
import math
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter, rotate, zoom

from benchmarks.any_film import in_window, of_design, plausible, told
from magray import Film, UserError
from magray.films.plan import films_of
from magray.micromagnetics import FilmSolver
from magray.project.estimate import estimate_film
from magray.store import open_store
from magray.store.rows import pixels

Grey = NDArray[np.float64]
"""A picture (h, w), 0…1."""
Drawn = NDArray[np.uint8]
"""What is written: (h, w), or (h, w, 3)."""

BLUR, NOISE = 1.6, 0.2  # pixels, and units of mz: of a view with half as many pixels, 0.84 and 0.1
QUALITY = 10  # of the JPEG
SHIFT = 0.5  # bars, that an edit may move an answer by on average


@dataclass(frozen=True)
class Edit:
    """What is done to a picture. pixel: the size of its pixels afterwards, relative. suffix: of the file."""

    make: Callable[[Grey, np.random.Generator], Drawn]
    pixel: float = 1.0
    suffix: str = ".png"


@dataclass(frozen=True)
class Said:
    """D and its error bar, J/m², NaN where the picture cannot be read; and what was done or why it is not trusted."""

    D: float
    error: float
    trust: str
    reasons: tuple[str, ...]


def grey(picture: Grey) -> Drawn:
    """Return grey values 0…255 of a picture, rounded."""
    return np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)


def coloured(name: str) -> Edit:
    """Return the edit that shows a picture by a colour map of matplotlib."""
    return Edit(lambda picture, _: colormaps[name](grey(picture), bytes=True)[..., :3])


def bright_to_one_side(picture: Grey, _: np.random.Generator) -> Drawn:
    """Return a picture with light that grows from left to right by two thirds of the contrast."""
    return grey(0.6 * picture + 0.4 * np.linspace(0, 1, picture.shape[1]))


def salted(picture: Grey, random: np.random.Generator) -> Drawn:
    """Return a picture with 5 % of its pixels black or white."""
    drawn = random.uniform(size=picture.shape)
    return grey(np.where(drawn < 0.025, 0.0, np.where(drawn > 0.975, 1.0, picture)))


def quarter_dead(picture: Grey, _: np.random.Generator) -> Drawn:
    """Return a picture whose upper left quarter is black."""
    shown = grey(picture)
    shown[: picture.shape[0] // 2, : picture.shape[1] // 2] = 0
    return shown


def scarred(picture: Grey, random: np.random.Generator) -> Drawn:
    """Return a picture with scars in 4 % of its rows: parts of them brighter or darker by 0.6 of the contrast."""
    shown, (height, width) = picture.copy(), picture.shape
    for row in random.choice(height, height // 25, replace=False):
        start, stop = np.sort(random.integers(0, width, 2))
        shown[row, start:stop] += random.choice([-0.6, 0.6])
    return grey(shown)


def bordered(picture: Grey, _: np.random.Generator) -> Drawn:
    """Return a picture in a white border."""
    return np.pad(grey(picture), 20, constant_values=255)


def in_a_plot(picture: Grey, _: np.random.Generator) -> Drawn:
    """Return a picture in a plot with axes and a colour bar, in which each pixel is two."""
    height, width = picture.shape
    figure = Figure(figsize=((2 * width + 260) / 100, (2 * height + 120) / 100), dpi=100)
    total = figure.get_size_inches() * 100
    axes = figure.add_axes((80 / total[0], 70 / total[1], 2 * width / total[0], 2 * height / total[1]))
    bar = figure.add_axes(((100 + 2 * width) / total[0], 70 / total[1], 20 / total[0], 2 * height / total[1]))
    figure.colorbar(axes.imshow(picture, cmap="gray", interpolation="nearest"), cax=bar)
    axes.set_xlabel("x (pixels)")
    with BytesIO() as file:
        figure.savefig(file, format="png", dpi=100)
        return np.asarray(Image.open(file).convert("RGB"))


def with_a_scale_bar(picture: Grey, _: np.random.Generator) -> Drawn:
    """Return a picture with a white bar and its length, in the lower left corner."""
    image = Image.fromarray(grey(picture))
    height, width = picture.shape
    draw, top = ImageDraw.Draw(image), height - 14
    draw.rectangle((10, top, 10 + width // 4, top + 4), fill=255)
    draw.text((10, top - 16), "200 nm", fill=255, font=ImageFont.load_default(size=12))
    return np.asarray(image)


def turned(picture: Grey, _: np.random.Generator) -> Drawn:
    """Return a picture of the same, periodic film turned by 45°."""
    height, width = picture.shape
    large = rotate(np.tile(picture, (2, 2)), 45, reshape=False, order=1, mode="grid-wrap")
    return grey(large[height // 2 : height // 2 + height, width // 2 : width // 2 + width])


EDITS = {
    "brightness gradient": Edit(bright_to_one_side),
    "JPEG 10": Edit(lambda picture, _: grey(picture), suffix=".jpg"),
    "blur 3 px": Edit(lambda picture, _: grey(gaussian_filter(picture, 3, mode="wrap"))),
    "5 % salt and pepper": Edit(salted),
    "gamma 2.2": Edit(lambda picture, _: grey(picture ** (1 / 2.2))),
    "binarised": Edit(lambda picture, _: grey((picture > 0.5).astype(float))),
    "quarter dead": Edit(quarter_dead),
    "scars": Edit(scarred),
    "viridis": coloured("viridis"),
    "jet": coloured("jet"),
    "RdBu": coloured("RdBu"),
    "border": Edit(bordered),
    "axes": Edit(in_a_plot, 0.5),
    "scale bar": Edit(with_a_scale_bar),
    "inverted": Edit(lambda picture, _: grey(1 - picture)),
    "mirrored": Edit(lambda picture, _: grey(picture[:, ::-1])),
    "45 degrees": Edit(turned),
    "upscaled": Edit(lambda picture, _: grey(zoom(picture, 2, order=3, grid_mode=True, mode="grid-wrap")), 0.5),
    "truncated": Edit(lambda picture, _: (np.clip(picture, 0, 1) * 255).astype(np.uint8)),
}


def seen(image: Drawn, random: np.random.Generator) -> Grey:
    """Return a film's picture with a blur and a noise, 0…1 of a range that two in 1000 pixels leave."""
    shown = gaussian_filter(image / 127.5 - 1, BLUR, mode="wrap") + NOISE * random.normal(size=image.shape)
    low, high = np.quantile(shown, [0.001, 0.999])
    return np.asarray(np.clip((shown - low) / (high - low), 0, 1))


def answer(film: Film, drawn: Drawn, path: Path, pixel: float = 1.0) -> Said:
    """Write a picture, and return what the estimator says of its file, told all constants but D and Aex."""
    Image.fromarray(drawn).save(path, quality=QUALITY)
    tells = told(film)
    try:
        found = estimate_film(
            path,
            estimator="any-film",
            known=tells["known"],
            dmi=tells["dmi"],
            history=tells["history"],
            pixel_nm=film.cell_size[0] * 1e9 * pixel,
        )
    except UserError as refusal:
        return Said(math.nan, math.nan, "refused", (str(refusal),))
    D = found.parameters["D"]
    return Said(D.value, D.error, found.trust, found.reasons)


def measure(films: Iterable[tuple[Film, Drawn]], edits: Sequence[str] = tuple(EDITS)) -> list[dict[str, Any]]:
    """Return a record of each film and edit: the shift in bars, and whether it is trusted.

    Films whose unedited picture is refused are left out.
    """
    records = []
    with tempfile.TemporaryDirectory() as folder:
        for number, (film, image) in enumerate(films):
            picture = seen(image, np.random.default_rng(number))
            plain = answer(film, grey(picture), Path(folder) / "plain.png")
            print(f"# film {number}: D {film.D:.3g}, {plain}", file=sys.stderr, flush=True)
            if plain.trust == "refused":
                continue
            for name in edits:
                edit, random = EDITS[name], np.random.default_rng(number)
                path = Path(folder) / f"edited{edit.suffix}"
                said = answer(film, edit.make(picture, random), path, edit.pixel)
                shift = (said.D - plain.D) / plain.error
                wider = said.error / plain.error
                record = {"film": number, "edit": name, "shift": shift, "wider": wider}
                record |= {"trust": said.trust, "reasons": said.reasons}
                records.append(record)
                print(f"# {record}", file=sys.stderr, flush=True)
    return records


def table(records: Sequence[dict[str, Any]]) -> list[str]:
    """Return the lines of a table in Markdown, one for each edit."""
    lines = [
        "| edit | mean shift, bars | largest | its own bar | refused | doubtful | |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(record["edit"] for record in records):
        some = [record for record in records if record["edit"] == name]
        answered = [record for record in some if record["trust"] != "refused"]
        shifts = [abs(record["shift"]) for record in answered]
        wider = f"{np.median([record['wider'] for record in answered]):.2f}" if answered else ""
        mean, largest = (f"{found(shifts):.2f}" if shifts else "" for found in (np.mean, max))
        trusts = [record["trust"] for record in some]
        shares = " | ".join(f"{trusts.count(trust) / len(some):.0%}" for trust in ("refused", "doubtful"))
        verdict = "too much" if shifts and np.mean(shifts) > SHIFT else ""
        lines.append(f"| {name} | {mean} | {largest} | {wider} | {shares} | {verdict} |")
    return lines


def simulated(count: int, side: int, backend: str) -> Iterable[tuple[Film, Drawn]]:
    """Yield films of the design whose domains are smaller than the window, and their pictures."""
    films = [film for film in of_design(4 * count, side, 0, beyond=0) if in_window(film)][:count]
    for one in FilmSolver(backend).stream(films):
        if one.m is not None and one.converged:
            yield plausible(one.film), pixels(one.m[2])


def stored(uri: str, count: int) -> Iterable[tuple[Film, Drawn]]:
    """Yield test films of a store, and their pictures."""
    store = open_store(uri)
    rows = store.films("test").slice(0, count)
    films = map(plausible, films_of(rows))
    yield from zip(films, store.images(rows["film_id"].to_pylist()), strict=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--films", type=int, default=10)
    parser.add_argument("--side", type=int, default=256, help="cells along a side")
    parser.add_argument("--backend", default="auto", help="of the solver")
    parser.add_argument("--store", help="of designed films, instead of simulations")
    parser.add_argument("--edits", default=",".join(EDITS), help="names, with commas between them")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    films = (
        stored(arguments.store, arguments.films)
        if arguments.store
        else simulated(arguments.films, arguments.side, arguments.backend)
    )
    records = measure(films, arguments.edits.split(","))
    print("\n".join(table(records)))
    if arguments.output:
        arguments.output.write_text(json.dumps(records, indent=1))
