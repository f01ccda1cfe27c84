"""The page in a real browser: drop, crop, calibrate, answer, refuse, download."""

import base64
import io
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from magray.serve.nearest import nearest_films
from magray.serve.requests import FILMS
from tests.support.any_films import designed_store
from tests.support.http_service import needs_serve, served
from tests.support.no_domains import no_domains
from tests.support.stripes import labyrinth

if TYPE_CHECKING:
    from tests.support.chromium import ChromiumTab
    from tests.support.tab import Tab

pytestmark = needs_serve
# Firefox cannot be told to be dark or to have the focus, without which Enter presses no button.
in_chromium = pytest.mark.parametrize("page", ["chromium"], indirect=True)


@pytest.fixture(scope="module", params=["chromium", "firefox"])
def page(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator["tuple[Tab, str]"]:
    """Return a browser and the URL of the page."""
    from tests.support.chromium import chromium
    from tests.support.firefox import firefox

    browser = {"chromium": chromium, "firefox": firefox}[request.param]
    with browser(tmp_path_factory.mktemp("browser")) as tab, served() as url:
        yield tab, url


@pytest.fixture
def tab(page: "tuple[Tab, str]") -> Iterator["Tab"]:
    """Open the page anew; afterwards it must have met no error, nor have offended its own policy."""
    tab, url = page
    tab.errors.clear()
    tab.open(url)
    tab.wait("document.querySelector('#Ms')")
    yield tab
    assert tab.errors == []


def picture(folder: Path, name: str = "film.png", side: int = 160) -> Path:
    grey = np.uint8(127.5 * (labyrinth(20, side=side) + 1))
    Image.fromarray(grey).save(folder / name)
    return folder / name


def drop(tab: "Tab", *files: Path) -> None:
    tab.drop(files)
    tab.wait("document.querySelector('#marks')")


def tell(tab: "Tab") -> None:
    """Tell what is known of the film, as people do: number, error, unit."""
    constants = (("Ms", "1.0", "0.05", "MA/m"), ("Keff", "0.2", "10%", "MJ/m3"), ("thickness", "2", "0.1", "nm"))
    for name, value, error, unit in constants:
        tab.type(f"#{name}", value)
        tab.type(f"#{name}-error", error)
        tab.choose(f"#{name}-unit", unit)


def answered(tab: "Tab") -> str:
    tab.wait("!document.querySelector('#answer').hidden && !document.querySelector('#go').disabled")
    return tab.text("#answer")


def test_a_line_over_the_scale_bar_gives_the_size_of_a_pixel(tab: "Tab", tmp_path: Path) -> None:
    drop(tab, picture(tmp_path))
    assert "does not tell the size of a pixel" in tab.text("#scale-note")
    tab.drag("#canvas", (0.25, 0.5), (0.75, 0.51))
    assert float(tab.run("document.querySelector('#line').value")) == pytest.approx(80, abs=1)
    tab.type("#line-length", "0.32")
    assert float(tab.run("document.querySelector('#pixel').value")) == pytest.approx(4, rel=0.02)


def test_an_answer_has_values_posterior_budget_and_downloads(tab: "Tab", tmp_path: Path) -> None:
    drop(tab, picture(tmp_path, "a <img src=x onerror=alert(1)>.png"))
    tab.click("input[value=crop]")
    tab.drag("#canvas", (0.105, 0.105), (0.95, 0.95))  # inside of a pixel: Firefox rounds places to those of the screen
    tab.wait("document.querySelector('#crop').value.startsWith('16,16,13')")
    tab.type("#pixel", "4")
    tell(tab)
    tab.click("#go")
    said = answered(tab)
    assert any(verdict in said for verdict in ("trusted", "doubtful", "refused"))
    if "|D| =" not in said:
        tab.click("#force")
        tab.wait("document.querySelector('#found').innerText.includes('|D| =')")
    assert tab.run("document.querySelectorAll('#found .area').length") == 2
    assert "Where the error of |D| comes from" in tab.text("#found")
    assert tab.run("document.images.length") == 1, "the name of the file is text"
    for kind in ("json", "csv", "html"):
        tab.click(f"[data-save={kind}]")
    told = json.loads(tab.downloaded("magray.json").read_text())["answers"][0]
    assert told["asked"]["Keff"] == "0.2 MJ/m3 ± 10%"
    assert told["answer"]["parameters"]["D"]["unit"] == "J/m2"
    head, row = tab.downloaded("magray.csv").read_text().splitlines()
    assert head.startswith("pictures,D value,D error,")
    assert row.count(",") >= head.count(",")
    report = tab.downloaded("magray.html").read_text()
    assert "SHA-256 of a &lt;img src=x onerror=alert(1)&gt;.png" in report
    assert "<script" not in report
    assert "<style>:root" in report


def test_the_nearest_films_of_a_store_are_shown_with_an_answer(
    page: "tuple[Tab, str]", tab: "Tab", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FILMS, designed_store(tmp_path / "store", 20).uri)
    nearest_films.cache_clear()
    tab.open(page[1])
    tab.wait("document.querySelector('#Ms')")
    drop(tab, picture(tmp_path))
    tab.type("#pixel", "4")
    tell(tab)
    tab.click("#go")
    if "|D| =" not in answered(tab):
        tab.click("#force")
        tab.wait("document.querySelector('#found').innerText.includes('|D| =')")
    assert tab.run("document.querySelectorAll('#found .nearest img').length") == 4
    assert "mJ/m², Aex" in tab.text("#found .nearest")
    nearest_films.cache_clear()


def test_a_picture_without_domains_is_refused_with_reasons(tab: "Tab", tmp_path: Path) -> None:
    np.save(tmp_path / "noise.npy", np.asarray(no_domains()["white noise"]))
    drop(tab, tmp_path / "noise.npy")
    tab.wait("document.querySelector('#doubt').innerText.includes('does not look like domains')")
    tab.type("#pixel", "4")
    tell(tab)
    tab.click("#go")
    assert "This answer cannot be trusted" in answered(tab)
    assert "|D| =" not in tab.text("#found")


def test_an_instrument_is_told_with_what_limits_it(tab: "Tab", tmp_path: Path) -> None:
    drop(tab, picture(tmp_path))
    tab.type("#pixel", "4")
    tell(tab)
    assert tab.run("document.querySelector('#resolution-row').hidden")
    tab.choose("#instrument", "mfm")
    assert tab.text("#resolution-row").startswith("the lift, nm, if known")
    tab.type("#resolution", "0")
    tab.click("#go")
    tab.wait("!document.querySelector('#error').hidden")
    assert "resolution_nm: give a number that is greater than 0" in tab.text("#error")
    tab.type("#resolution", "40")
    tab.click("#go")
    answered(tab)
    (tab.downloads / "magray.json").unlink(missing_ok=True)  # of a test before
    tab.click("[data-save=json]")
    asked = json.loads(tab.downloaded("magray.json").read_text())["answers"][0]["asked"]
    assert (asked["instrument"], asked["resolution_nm"]) == ("mfm", "40")
    tab.choose("#instrument", "none")
    assert tab.run("document.querySelector('#resolution-row').hidden")
    assert tab.run("document.querySelector('#resolution').value") == ""


def test_what_is_wrong_is_said_in_the_words_of_the_command(tab: "Tab", tmp_path: Path) -> None:
    drop(tab, picture(tmp_path))
    tab.type("#pixel", "4")
    tab.type("#Ms", "1.2")
    tab.click("#go")
    tab.wait("!document.querySelector('#error').hidden")
    assert tab.text("#error") == "Ms: 1.2 has no unit; write for example 1500 kA/m"
    (tmp_path / "a.doc").write_bytes(b"no picture")
    tab.drop([tmp_path / "a.doc"])
    tab.wait("!document.querySelector('#picture-error').hidden")
    assert tab.text("#picture-error").startswith("a.doc: is not a picture; PNG, TIFF,")


def test_channels_and_the_size_of_a_pixel_come_from_the_file(tab: "Tab", tmp_path: Path) -> None:
    grey = np.stack([labyrinth(20, side=128), labyrinth(30, side=128)])
    description = {"axes": "ZYX", "unit": "micron"}
    tifffile.imwrite(tmp_path / "two.tif", grey, imagej=True, resolution=(125, 125), metadata=description)
    drop(tab, tmp_path / "two.tif")
    assert tab.run("document.querySelector('#pixel').placeholder") == "8, from the file"
    assert tab.run("document.querySelector('#channel').options.length") == 2


def test_several_films_give_a_table_with_a_row_for_what_cannot_be_read(tab: "Tab", tmp_path: Path) -> None:
    (tmp_path / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    drop(tab, picture(tmp_path, "a.png", 128), tmp_path / "b.png")
    tab.wait("document.querySelectorAll('.chips li').length === 2")
    tab.click("input[value=each]")
    tab.choose("#estimator", "co-like")
    tab.type("#pixel", "8")
    tab.click("#go")
    rows = answered(tab)
    assert "a.png" in rows
    assert "b.png: cannot be read as PNG" in rows


@in_chromium
def test_the_keyboard_is_enough(tab: "ChromiumTab", tmp_path: Path) -> None:
    drop(tab, picture(tmp_path, side=128))
    tab.choose("#estimator", "co-like")
    tab.type("#pixel", "8")
    tab.key("Enter", 13)  # in a field outside of the form: nothing happens
    tab.run("document.querySelector('#go').focus()")
    tab.key("Enter", 13)
    assert "D = " in answered(tab) or "cannot be trusted" in tab.text("#answer")


@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_is_not_wider_than_the_window(page: "tuple[Tab, str]", width: int, tmp_path: Path) -> None:
    tab, url = page
    tab.open(url, width=width)
    tab.wait("document.querySelector('#Ms')")
    drop(tab, picture(tmp_path))
    assert tab.run("document.documentElement.scrollWidth") <= width


@in_chromium
def test_dark_mode_is_dark(page: "tuple[ChromiumTab, str]") -> None:
    tab, url = page
    tab.open(url, dark=True)
    red = tab.run("Number(getComputedStyle(document.body).backgroundColor.match(/[0-9]+/)[0])")
    assert red < 64


def trusted_record(*_: object) -> dict[str, Any]:
    """Return an answer that is trusted, with all that an answer can have."""
    random = np.random.default_rng(1)
    draws = {"D": (random.normal(1.2e-3, 1e-4, 800)), "Aex": random.normal(12e-12, 1e-12, 800)}
    parameters, budget = {}, {}
    for name, unit in (("D", "J/m2"), ("Aex", "J/m")):
        low95, low68, value, high68, high95 = np.quantile(draws[name], (0.025, 0.16, 0.5, 0.84, 0.975)).tolist()
        ends = {"low68": low68, "high68": high68, "low95": low95, "high95": high95}
        parameters[name] = {"value": value, "error": (high68 - low68) / 2, "unit": unit, **ends}
        budget[name] = dict.fromkeys(("picture", "Ms", "Keff", "thickness", "Aex"), 0.03 * value)
    theory = {name: {"D": {"value": 1.1e-3, "unit": "J/m2"}} for name in ("stripe_theory", "rescaling")}
    notes = ["the picture does not show the sign of D", "removed a plane, 3 scars and a banner of 24 rows below"]
    answer = {"parameters": parameters, "correlation": {"D, Aex": 0.9}, "budget": budget, "trust": "trusted"}
    answer |= {"reasons": [], "notes": notes, "baselines": theory, "resimulation": None}
    return answer | {"draws": {name: values.tolist() for name, values in draws.items()}}


@pytest.fixture
def answer_trusted(tab: "Tab", tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "Tab":
    """Return the page with an answer that is trusted; films of it are simulated by a script that does not wait."""
    monkeypatch.setattr("magray.serve.answers.estimate_record", trusted_record)
    compared = {"picture": 2e-7, "films": 2.4e-7, "scatter": 1e-8, "agrees": False}
    simulated = {"films": 1, "cells": 96, "history": "quenched", "comparisons": {"period": compared}}
    film = io.BytesIO()
    Image.fromarray(np.zeros((128, 128), np.uint8)).save(film, "PNG")
    answer = {"trust": "doubtful", "reasons": ["films have another period"], "resimulation": simulated}
    answer["films"] = [f"data:image/png;base64,{base64.b64encode(film.getvalue()).decode()}"] * 4
    lines = (json.dumps(one) for one in ({"expected": "about 5 s"}, {"answer": answer}))
    script = "; ".join(f"print({line!r})" for line in lines)
    monkeypatch.setattr("magray.serve.resimulation.COMMAND", (sys.executable, "-S", "-c", script))
    drop(tab, picture(tmp_path, side=192))
    tab.type("#pixel", "4")
    tell(tab)
    tab.click("#go")
    assert "trusted" in answered(tab)
    return tab


def test_films_of_an_answer_are_simulated_on_request(answer_trusted: "Tab") -> None:
    tab = answer_trusted
    assert tab.text("#resimulate") == "Simulate films of this answer"
    press(tab, "#resimulate")
    tab.wait("document.querySelector('.films img')")
    said = tab.text("#answer")
    assert "doubtful" in said
    assert "films have another period" in said
    assert "240 ± 10 nm" in said
    assert "differs" in said
    assert "|D| = 1.2" in said, "the values stay"
    assert tab.run("document.querySelector('#resimulation').hidden")


@in_chromium
def test_the_report_is_one_page_of_paper(answer_trusted: "ChromiumTab") -> None:
    """Printed from the page, and as the file that is kept."""
    tab = answer_trusted
    press(tab, "#resimulate")
    tab.wait("document.querySelector('.films img')")
    tab.run("window.print = () => {}")
    press(tab, "#print")
    tab.wait("document.querySelector('#report section')")
    assert pages(tab) == 1
    tab.run("dispatchEvent(new Event('afterprint'))")
    assert tab.run("document.querySelector('#report').children.length") == 0
    press(tab, "[data-save=html]")
    tab.open(tab.downloaded("magray.html").as_uri(), dark=True)
    assert pages(tab) == 1


def press(tab: "Tab", selector: str) -> None:
    """Press a button wherever it is: answers scroll the page, and a mouse may miss it meanwhile."""
    tab.run(f"document.querySelector({json.dumps(selector)}).click()")


def pages(tab: "ChromiumTab") -> int:
    """Return how many pages of A4 the browser would print."""
    printed = base64.b64decode(tab.call("Page.printToPDF", preferCSSPageSize=True)["data"])
    return len(re.findall(rb"/Type\s*/Page\b", printed))
