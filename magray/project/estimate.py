"""Estimate parameters from picture files, and choose the held-out film whose estimate a project shows."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc

from magray.errors import UserError
from magray.imaging import MAX_MEGAPIXELS, cells_of, crop, read_picture, write_picture
from magray.store import Store

if TYPE_CHECKING:
    from magray.estimator.any_film import Posterior
    from magray.estimator.estimator import Answer
    from magray.imaging.microscope import Microscope


def estimate_pictures(
    *pictures: str | Path,
    estimator: str | Path,
    scale_um: float | None = None,
    pixel_nm: float | None = None,
    max_megapixels: float = MAX_MEGAPIXELS,
) -> "Answer":
    """Return an estimator's answer for picture files of one film.

    estimator: a folder, or the name of one that ships with magray. scale_um: side of a picture, µm; or pixel_nm: side
    of a pixel, nm. Raises UserError for what is no picture or no estimator.
    """
    from magray.estimator.estimator import Estimator

    images = [read_picture(picture, max_megapixels) for picture in pictures]
    return Estimator.load(estimator).predict(images, scale_um=scale_um, pixel_nm=pixel_nm)


def estimate_film(
    *pictures: str | Path,
    estimator: str | Path,
    known: Mapping[str, object],
    dmi: str | None = None,
    history: str | None = None,
    instrument: str | None = None,
    scale_um: float | None = None,
    pixel_nm: float | None = None,
    max_megapixels: float = MAX_MEGAPIXELS,
    resimulate: bool = False,
) -> "Posterior":
    """Return what picture files of one film, and what is known of it, say: see `magray.estimate`."""
    from magray.estimator.any_film import estimate
    from magray.estimator.knowns import Knowledge

    Knowledge.of(known, dmi, history, instrument)  # says what is wrong before files are read
    images = [read_picture(picture, max_megapixels) for picture in pictures]
    return estimate(images, pixel_nm, scale_um, known, dmi, history, instrument, estimator, resimulate)


def knows_any_film(estimator: str) -> bool:
    """Return whether an estimator is told what is known of a film, and not trained for one material."""
    from magray.estimator.any_film import is_any_film

    return is_any_film(estimator)


def held_out_film(store: Store, targets: Sequence[str]) -> dict[str, Any]:
    """Return the `film_id` and `targets` (SI) of the test film with the smallest id.

    The smallest id is an arbitrary choice, so that no film is shown for its good answer. Raises UserError if there is
    no test film.
    """
    from magray.training.fit import check_finite

    first = store.films("test", ["film_id", *targets]).slice(0, 1)
    if not first.num_rows:
        raise UserError("the store has no test film; plan more films (campaign.films)")
    check_finite(store, first, list(targets))
    film: dict[str, Any] = first.to_pylist()[0]
    return film


def write_view(store: Store, film_id: str, scale_um: float, microscope: "Microscope | None", path: Path) -> None:
    """Write the corner of a film at `scale_um` as a PNG: its cells, or the microscope's picture of them."""
    from magray.imaging.microscope import render_picture

    row = store.table(["pixel_nm"], pc.field("film_id") == film_id)
    corner = crop(store.images([film_id]), cells_of(scale_um, row["pixel_nm"][0].as_py()), 0, 0)[0]
    path.parent.mkdir(exist_ok=True)
    write_picture(path, corner if microscope is None else render_picture(corner, scale_um, microscope))
