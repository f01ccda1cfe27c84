"""Run scripts on a page in a real browser."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
QUIET = ("--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run")
FRAME = """<!doctype html><meta charset="utf-8">
<iframe id="frame" width="{width}" height="900" srcdoc="{page}"></iframe>
<pre id="found"></pre><script>
addEventListener("load", () => {{
  const page = document.getElementById("frame").contentWindow;
  const found = (function (window, document) {{ {script} }})(page, page.document);
  document.getElementById("found").textContent = JSON.stringify(found);
}});
</script>"""


def in_browser(page: str, script: str, folder: Path, width: int = 1200) -> Any:
    """Return the result of a script that runs in a page, `width` pixels wide.

    A frame has that width: no window of a browser is as narrow as a phone. Skips the test where there is no browser.
    """
    browser = next(filter(None, map(shutil.which, NAMES)), None)
    if browser is None:
        pytest.skip("no chromium on this machine: the report was not looked at in a browser")
    frame = folder / f"frame-{width}.html"
    frame.write_text(FRAME.format(width=width, page=html.escape(page), script=script), encoding="utf-8")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", *QUIET, f"--user-data-dir={folder / 'profile'}"]
    command += ["--window-size=1300,1000", "--virtual-time-budget=5000", "--dump-dom", frame.as_uri()]
    dom = subprocess.run(command, check=True, timeout=120, capture_output=True, encoding="utf-8").stdout
    found = re.search(r'<pre id="found">(.*?)</pre>', dom, re.DOTALL)
    assert found, "the script in the browser did not end"
    return json.loads(html.unescape(found[1]))
