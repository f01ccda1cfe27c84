"""Estimate parameters from picture files, and choose the held-out film whose estimate a project shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc

from magray.errors import UserError
from magray.imaging import cells_of, crop, write_picture
from magray.project.picture import AS_USUAL, Reading, read_for_estimate
from magray.store import Store

if TYPE_CHECKING:
    from magray.estimator.any_film import Posterior
    from magray.estimator.estimator import Answer
    from magray.imaging.microscope import Microscope


@dataclass(frozen=True)
class Question:
    """Pictures of one film, what is known of it, and the estimator that is asked: the arguments of `magray estimate`.

    estimator: a folder, or the name of one that ships with magray. known: texts by constant, as "1.20 ± 0.05 MA/m".
    """

    pictures: Sequence[str | Path]
    estimator: str = "any-film"
    known: Mapping[str, str] = field(default_factory=dict)
    dmi: str | None = None
    history: str | None = None
    instrument: str | None = None
    scale_um: float | None = None
    pixel_nm: float | None = None
    reading: Reading = AS_USUAL
    resimulate: bool = False
    resolution_nm: float | None = None


def answer(question: Question) -> "Posterior | Answer":
    """Return an estimator's answer, a `Posterior` from an estimator of any film and an `Answer` from another.

    Raises UserError for what is wrong with the question, and Refused where no film can be meant.
    """
    asked = question
    if knows_any_film(asked.estimator):
        return estimate_film(
            *asked.pictures,
            estimator=asked.estimator,
            known=asked.known,
            dmi=asked.dmi,
            history=asked.history,
            instrument=asked.instrument,
            scale_um=asked.scale_um,
            pixel_nm=asked.pixel_nm,
            reading=asked.reading,
            resimulate=asked.resimulate,
            resolution_nm=asked.resolution_nm,
        )
    name = asked.estimator
    further = {
        "dmi": asked.dmi,
        "history": asked.history,
        "instrument": asked.instrument,
        "resolution-nm": asked.resolution_nm,
    }
    if asked.resimulate:
        raise UserError(f"{name} knows no constants to simulate; --resimulate is for the estimator any-film")
    if told := [*asked.known, *(kind for kind, value in further.items() if value is not None)]:
        raise UserError(f"{name} knows the films of its training only; --{told[0]} is for the estimator any-film")
    return estimate_pictures(
        *asked.pictures,
        estimator=name,
        scale_um=asked.scale_um,
        pixel_nm=asked.pixel_nm,
        reading=asked.reading,
    )


def estimate_pictures(
    *pictures: str | Path,
    estimator: str | Path,
    scale_um: float | None = None,
    pixel_nm: float | None = None,
    reading: Reading = AS_USUAL,
) -> "Answer":
    """Return an estimator's answer for picture files of one film.

    estimator: a folder, or the name of one that ships with magray. scale_um: side of a picture, µm; or pixel_nm: side
    of a pixel, nm; neither where the files tell it. Raises UserError for what is no picture or no estimator.
    """
    from magray.estimator.estimator import Estimator

    images, scale, done = read_for_estimate(pictures, scale_um, pixel_nm, reading)
    answer = Estimator.load(estimator).predict(images, scale_um=scale.um, pixel_nm=scale.pixel_nm)
    return replace(answer, warnings=(*answer.warnings, *done))


def estimate_film(
    *pictures: str | Path,
    estimator: str | Path,
    known: Mapping[str, object],
    dmi: str | None = None,
    history: str | None = None,
    instrument: str | None = None,
    scale_um: float | None = None,
    pixel_nm: float | None = None,
    reading: Reading = AS_USUAL,
    resimulate: bool = False,
    resolution_nm: float | None = None,
) -> "Posterior":
    """Return what picture files of one film, and what is known of it, say: see `magray.estimate`."""
    from magray.estimator.any_film import estimate
    from magray.estimator.knowns import Knowledge

    Knowledge.of(known, dmi, history, instrument, resolution_nm)  # says what is wrong before files are read
    images, scale, done = read_for_estimate(pictures, scale_um, pixel_nm, reading)
    kinds = (dmi, history, instrument)
    posterior = estimate(images, scale.pixel_nm, scale.um, known, *kinds, estimator, resimulate, resolution_nm)
    return replace(posterior, notes=(*done, *posterior.notes))


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
