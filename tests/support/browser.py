"""Pages in a headless Chromium: what its console says, what a page fetches, whether it fits."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

CHROMIUM = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)
WHY = "no Chromium is installed (Debian: apt-get install chromium)"

WIDTHS = (390, 1280)
MEASURE = """
<!doctype html><html><body><pre id="found"></pre><script>
const found = [];
for (const frame of document.querySelectorAll("iframe")) {
  frame.addEventListener("load", () => {
    const root = frame.contentDocument.documentElement;
    const fetched = frame.contentWindow.performance.getEntriesByType("resource").map(entry => entry.name);
    const small = [...frame.contentDocument.querySelectorAll("svg text")]
      .filter(text => text.getBoundingClientRect().height < 9).length;
    found.push({width: frame.clientWidth, content: root.scrollWidth, height: root.scrollHeight, fetched, small});
    document.getElementById("found").textContent = JSON.stringify(found);
  });
}
</script></body></html>
"""


def browse(page: Path, *options: str) -> subprocess.CompletedProcess[str]:
    assert CHROMIUM is not None
    return subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            "--no-first-run",
            "--disable-dev-shm-usage",
            f"--user-data-dir={page.parent / 'profile'}",
            "--enable-logging=stderr",
            *options,
            "--virtual-time-budget=3000",
            "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )


def measured(page: Path, scheme: int) -> tuple[list[dict[str, Any]], bool]:
    """The page in a frame of each width: widths of frame and content, what was fetched, texts too small to read; and
    whether the console complains."""
    source = html.escape(page.read_text(encoding="utf-8"), quote=True)
    frames = "".join(
        f'<iframe style="width:{width}px;height:800px;border:0" srcdoc="{source}"></iframe>' for width in WIDTHS
    )
    frame_page = page.parent / "frames.html"
    frame_page.write_text(MEASURE.replace("<pre", frames + "<pre"), encoding="utf-8")
    done = browse(frame_page, f"--blink-settings=preferredColorScheme={scheme}", "--window-size=1400,900")
    found = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found is not None
    values: list[dict[str, Any]] = json.loads(html.unescape(found.group(1)))
    return values, "CONSOLE" in done.stderr


def check_page(page: Path, least_height: int) -> None:
    """Nothing on the console, nothing fetched, nothing wider than the screen; at every width, light and dark."""
    assert "CONSOLE" not in browse(page).stderr
    for scheme in (0, 1):
        frames, complains = measured(page, scheme)
        assert not complains
        assert sorted(frame["width"] for frame in frames) == sorted(WIDTHS)
        for frame in frames:
            assert frame["content"] <= frame["width"], "the page scrolls sideways"
            assert frame["height"] > least_height, "the page is there"
            assert frame["fetched"] == []
            assert frame["small"] == 0
