"""Write simulate.html: the progress of a campaign that is under way, and pictures of its last films."""

import base64
import io
import logging
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from time import monotonic

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from PIL import Image

from magray.campaign.progress import CampaignState
from magray.errors import UserError, in_words
from magray.report.html import write_page
from magray.store import open_store
from magray.store.store import columns_of, reading

PAGE = "simulate.html"
WRITE_SECONDS = 5.0  # between two versions of the page, which a browser loads as often
THUMBNAIL_PIXELS = 160
_COLUMNS = ["film_id", "height", "width", "image"]

_log = logging.getLogger(__name__)


class CampaignPage:
    """A page that shows the states of a campaign, with pictures from the store's committed files.

    A state within WRITE_SECONDS of the last one written is left out, but for the last. A page that cannot be written
    any more is given up with a warning: it must not cost the campaign.
    """

    def __init__(self, path: Path, store_uri: str, campaign: str) -> None:
        self.path, self.store_uri, self.campaign = path, store_uri, campaign
        self.pictures: dict[str, str] = {}  # film_id -> data URI, of the films on the page
        self.written = -WRITE_SECONDS
        self.given_up = False

    def show(self, state: CampaignState) -> None:
        """Write the page anew, if it is time."""
        if self.given_up or (not state.outcome and monotonic() - self.written < WRITE_SECONDS):
            return
        try:
            self._write(state)
        except (OSError, UserError) as error:
            self.given_up = True
            text = in_words(error) if isinstance(error, OSError) else str(error)
            _log.warning("%s is no longer written: %s", self.path, text)
        self.written = monotonic()  # after the work, which therefore takes a small part of the time

    def _write(self, state: CampaignState) -> None:
        known = {film["film_id"]: self.pictures.get(film["film_id"], "") for film in state.latest}
        self.pictures = known | self._thumbnails([film for film in state.latest if not known[film["film_id"]]])
        films = [film | {"picture": self.pictures[film["film_id"]]} for film in reversed(state.latest)]
        write_page(
            "simulate.html",
            self.path,
            campaign=self.campaign,
            state=state,
            films=films,
            refresh=None if state.outcome else round(WRITE_SECONDS),
            written=f"{datetime.now().astimezone():%Y-%m-%d %H:%M:%S %Z}",
        )

    def _thumbnails(self, films: list[dict[str, str]]) -> dict[str, str]:
        """Return {film_id: data URI} of films; each of their files is read once."""
        ids, files = {film["film_id"] for film in films}, sorted({film["file"] for film in films})
        with reading(self.store_uri):
            parts = open_store(self.store_uri).scan(files, lambda _, file: columns_of(file, _COLUMNS))
            return {film_id: _data_uri(pixels) for rows in parts for film_id, pixels in _pictures(rows, ids)}


def _pictures(rows: pa.Table, ids: set[str]) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Yield the ids and pictures, (ny, nx), of those of the rows that are asked for."""
    for film in rows.filter(pc.is_in(rows["film_id"], pa.array(sorted(ids), pa.string()))).to_pylist():
        yield film["film_id"], np.frombuffer(film["image"], np.uint8).reshape(film["height"], film["width"])


def _data_uri(pixels: NDArray[np.uint8]) -> str:
    """Return a picture as a small PNG."""
    image, content = Image.fromarray(pixels), io.BytesIO()
    image.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS))
    image.save(content, "PNG")
    return f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}"
