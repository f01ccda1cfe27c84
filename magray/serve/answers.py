"""Answers to requests as JSON: the records of `magray estimate --json`, and pictures to look at."""

import base64
import io
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from magray import __version__
from magray.errors import Refused, UserError
from magray.estimator.any_film import Posterior
from magray.estimator.estimator import Answer
from magray.estimator.folders import ANY_FILM, shipped
from magray.estimator.knowns import CONSTANTS as KNOWABLE
from magray.estimator.knowns import INSTRUMENTS
from magray.films.design import HISTORIES, KINDS
from magray.imaging.cleaning import STEPS
from magray.imaging.instruments import RESOLUTIONS
from magray.project.estimate import Question, answer
from magray.project.picture import Preview, Reading, as_shown, preview
from magray.serve.nearest import nearest_films
from magray.serve.requests import (
    CONSTANTS,
    FILMS,
    MAX_BYTES,
    MAX_MEGAPIXELS,
    MAX_PICTURES,
    EstimateRequest,
    PictureRequest,
)
from magray.serve.uploads import MemoryFiles, Upload, in_memory
from magray.units import DIMENSIONS, in_practice

SHOWN_PIXELS = 1024  # along the longer side of a picture that is sent to be looked at
Record = dict[str, Any]


def estimate_record(request: EstimateRequest, uploads: Sequence[Upload]) -> Record:
    """Return what `magray estimate --json` prints, with `draws` of the posterior and `nearest` films if asked for.

    An answer that cannot be trusted has no parameters unless the request forces them. Raises UserError with the
    sentences of the command.
    """
    with in_memory(uploads) as files:
        record, found = _answered(request, files, resimulate=False)
    if isinstance(found, Posterior) and request.draws:
        record["draws"] = {name: _thinned(found.samples[name], request.draws) for name in found.parameters}
    if isinstance(found, Posterior) and request.nearest:
        record["nearest"] = _nearest(found, request)
    return record


def resimulated_record(request: EstimateRequest, files: MemoryFiles) -> Record:
    """Return what `magray estimate --resimulate --json` prints, and `films`: pictures of the films, as data URLs.

    A refused answer has no films: nothing is simulated. Raises UserError with the sentences of the command.
    """
    record, found = _answered(request, files, resimulate=True)
    if isinstance(found, Posterior) and found.resimulation is not None:
        record["films"] = [_data_url(as_shown(view)) for view in found.resimulation.views]
    return record


def picture_record(request: PictureRequest, uploads: Sequence[Upload]) -> Record:
    """Return what `magray picture` says of a file, and pictures as data URLs: as it is read, and as it is seen."""
    if len(uploads) != 1:
        raise UserError("give one picture")
    with in_memory(uploads) as files:
        try:
            found = preview(files.paths[0], Reading.of(request.channel, request.crop, request.clean, MAX_MEGAPIXELS))
        except UserError as error:
            raise UserError(files.named(str(error))) from error
        return _preview_record(found, files)


def choices() -> Record:
    """Return what a request can choose from: estimators, units of constants, kinds, and the limits of this server."""
    return {
        "version": __version__,
        "estimators": list(estimators()),
        "constants": {name: list(DIMENSIONS[KNOWABLE[name].dimension].factors) for name in CONSTANTS},
        "practical": {one.unit: in_practice(one.unit) for one in KNOWABLE.values()},
        "dmi": list(KINDS),
        "history": list(HISTORIES),
        "instrument": list(INSTRUMENTS),
        "resolution": RESOLUTIONS,
        "clean": list(STEPS),
        "films": FILMS in os.environ,
        "limits": {"bytes": MAX_BYTES, "pictures": MAX_PICTURES, "megapixels": MAX_MEGAPIXELS},
    }


def estimators() -> tuple[str, ...]:
    """Return the names of the estimators that can be asked: those that come with magray, and no folders."""
    return (ANY_FILM, *shipped())


def warm_up() -> None:
    """Answer a drawn picture, so that the first real one does not wait for imports and weights."""
    wave = np.sin(np.arange(128) * 2 * np.pi / 16)
    drawn = np.tanh(3 * (wave[:, None] + wave))
    image = io.BytesIO()
    Image.fromarray((127.5 * (drawn + 1)).astype(np.uint8)).save(image, "PNG")
    request = EstimateRequest(pixel_nm=8.0, Ms="1 MA/m", Keff="0.2 MJ/m3", thickness="2 nm")
    estimate_record(request, [Upload("drawn.png", image.getvalue())])
    nearest_films()


def _answered(
    request: EstimateRequest, files: MemoryFiles, resimulate: bool
) -> tuple[Record, Posterior | Answer | None]:
    """Return an answer as a record, with the names that the sender gave, and as it is; None if it is refused."""
    if not files.paths:
        raise UserError("give at least one picture")
    if request.estimator not in (names := estimators()):
        raise UserError(f"there is no estimator of this name here; there are {', '.join(names)}")
    try:
        found = answer(_question(request, files, resimulate))
    except Refused as refused:
        return {"parameters": {}, "trust": "refused", "reasons": [files.named(str(refused))]}, None
    except UserError as error:
        raise UserError(files.named(str(error))) from error
    record = found.to_json()
    for key in {"reasons", "notes"} & set(record):
        record[key] = [files.named(line) for line in record[key]]
    if found.trust == "refused" and not request.force:
        return {"parameters": {}, "trust": "refused", "reasons": record["reasons"]}, None
    return record, found


def _nearest(found: Posterior, request: EstimateRequest) -> list[Record]:
    films = nearest_films()
    if films is None:
        raise UserError("nearest: this server has no simulated films; start it with magray serve --films STORE")
    shown = films.of(found, request.dmi, request.nearest)
    return [record | {"picture": _data_url(picture)} for record, picture in shown]


def _question(request: EstimateRequest, files: MemoryFiles, resimulate: bool) -> Question:
    known = {name: text for name in CONSTANTS if (text := getattr(request, name)) is not None}
    return Question(
        files.paths,
        request.estimator,
        known,
        request.dmi,
        request.history,
        request.instrument,
        request.scale_um,
        request.pixel_nm,
        Reading.of(request.channel, request.crop, request.clean, MAX_MEGAPIXELS),
        resimulate,
        request.resolution_nm,
    )


def _thinned(values: NDArray[np.float64], count: int) -> list[float]:
    chosen = np.linspace(0, len(values) - 1, min(count, len(values))).astype(int)
    return [float(f"{value:.5g}") for value in values[chosen]]


def _preview_record(found: Preview, files: MemoryFiles) -> Record:
    height, width = found.shown.shape
    return {
        "channels": list(found.channels),
        "channel": found.channel + 1,
        "width": width,
        "height": height,
        "pixel_nm": None if found.pixel is None else [side * 1e9 for side in found.pixel],
        "read": found.read,
        "done": list(found.done),
        "doubt": None if found.doubt is None else files.named(found.doubt),
        "picture": _data_url(found.shown),
        "seen": None if found.seen is None else _data_url(found.seen),
    }


def _data_url(grey: NDArray[np.uint8]) -> str:
    image = Image.fromarray(grey)
    image.thumbnail((SHOWN_PIXELS, SHOWN_PIXELS))
    file = io.BytesIO()
    image.save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
