"""The page of a campaign under way shows its progress and its last films, and reads little of the store."""

import base64
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from magray.campaign.progress import CampaignState
from magray.report import simulate
from magray.report.simulate import THUMBNAIL_PIXELS, WRITE_SECONDS, CampaignPage
from magray.store import Store
from magray.store.store import columns_of
from tests.support.stores import scattered_store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return scattered_store(tmp_path / "store", films=8, films_per_file=4)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return a list of one number, the time that the page sees."""
    now = [100.0]
    monkeypatch.setattr(simulate, "monotonic", lambda: now[0])
    return now


def ids_of(store: Store, file: str) -> list[str]:
    """Return the ids of the films in a file of the store."""
    (rows,) = store.scan([file], lambda _, content: columns_of(content, ["film_id"]))
    return list(rows["film_id"].to_pylist())


def state_of(store: Store, done: int, outcome: str = "") -> CampaignState:
    """Return the state of a campaign of ten films after the commit of so many."""
    latest = [
        {"film_id": film_id, "file": file, "status": "converged"}
        for file in store.files()
        for film_id in ids_of(store, file)
    ]
    return CampaignState(done, 10, "2 films/s now, 1 overall", tuple(latest[:done]), outcome)


def test_a_running_campaign_shows_its_last_films_and_loads_itself_again(store: Store, tmp_path: Path) -> None:
    state = state_of(store, 8)
    page = CampaignPage(tmp_path / "simulate.html", store.uri, "stripes <b>")
    page.show(state)
    text = page.path.read_text(encoding="utf-8")
    assert "8 of 10 films of stripes &lt;b&gt;" in text
    assert "2 films/s now" in text
    assert f'http-equiv="refresh" content="{WRITE_SECONDS:.0f}"' in text
    pictures = re.findall(r'src="data:image/png;base64,([^"]+)"', text)
    assert not re.search(r"(src|href)=\"(?!data:)", text), "the page is not self-contained"
    newest_first = [film["film_id"] for film in reversed(state.latest)]
    for content, expected in zip(pictures, store.images(newest_first), strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(content)))), expected)
    assert expected.shape[0] <= THUMBNAIL_PIXELS


def test_the_last_state_is_written_at_once_and_loads_no_more(store: Store, tmp_path: Path, clock: list[float]) -> None:
    page = CampaignPage(tmp_path / "simulate.html", store.uri, "stripes")
    page.show(state_of(store, 4))
    page.show(state_of(store, 8))
    assert "4 of 10 films" in page.path.read_text(encoding="utf-8"), "written twice within seconds"
    page.show(state_of(store, 8, "interrupted"))
    text = page.path.read_text(encoding="utf-8")
    assert "8 of 10 films" in text
    assert "interrupted" in text
    assert "refresh" not in text


def test_only_files_with_new_films_are_read(
    store: Store, tmp_path: Path, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    states = [state_of(store, done) for done in (4, 8, 8)]
    read: list[str] = []
    scan = Store.scan

    def noted(store: Store, files: list[str], columns: Any) -> Any:
        read.extend(files)
        return scan(store, files, columns)

    monkeypatch.setattr(Store, "scan", noted)
    page = CampaignPage(tmp_path / "simulate.html", store.uri, "stripes")
    for state in states:
        clock[0] += WRITE_SECONDS
        page.show(state)
    assert sorted(read) == sorted(store.files()), "each of the two once"


def test_a_page_that_cannot_be_written_costs_a_warning_and_not_the_campaign(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "simulate.html").mkdir()
    page = CampaignPage(tmp_path / "simulate.html", store.uri, "stripes")
    page.show(state_of(store, 4))
    page.show(state_of(store, 8, "done"))
    assert len(caplog.records) == 1
    assert "is no longer written" in caplog.text
