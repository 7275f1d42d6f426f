"""Makes the pictures of docs/terminal.md: `make screens`.

Every command runs in a real terminal of 80 and of 120 columns, on a small lake made for it. What the terminal shows at the
end becomes an SVG: text, so that a change of the words is a change of a line.
"""

import csv
import io
import itertools
import random
import shutil
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.style import Style
from rich.terminal_theme import MONOKAI
from rich.text import Text

from tests.screens.page import SCREENS, WIDTHS, Screen, page
from tests.support.terminal import ROOT, Shown, run_in_terminal

FOLDER = ROOT / "docs" / "screens"
PLACE = Path(tempfile.gettempdir()) / "reviews"
SHOP = "Reviews.csv"
NAMES = {"brown": "yellow"}
"""Colours that pyte and rich call differently."""
FRAME = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg" role="img">
<style>
.{unique_id}-matrix {{ font-family: "DejaVu Sans Mono", Menlo, Consolas, monospace; font-size: {char_height}px;
  line-height: {line_height}px; font-variant-east-asian: full-width; }}
{styles}
</style>
<defs>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def main() -> None:
    """Runs the commands and writes pictures and page."""
    if PLACE.exists():
        raise SystemExit(f"{PLACE} is there already. Remove it: the commands run in it, and the pictures show its name.")
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    try:
        for width in WIDTHS:
            for screen in SCREENS:
                draw(shown(screen, width), screen.command, FOLDER / f"{screen.name}-{width}.svg")
            shutil.rmtree(PLACE)
    finally:
        shutil.rmtree(PLACE, ignore_errors=True)
    (ROOT / "docs" / "terminal.md").write_text(page(FOLDER), encoding="utf-8")


def shown(screen: Screen, width: int) -> Shown:
    """Runs a command as its screen asks, in the one folder that all commands of a width share."""
    PLACE.mkdir(exist_ok=True)
    if not (PLACE / SHOP).exists():
        write_shop(PLACE / SHOP)
    function = f'pipeline() {{ "{sys.executable}" -m pipeline "$@"; }}'
    found = run_in_terminal(
        ["bash", "-c", f"{function}; {screen.hidden}\n{screen.command}"], width, cwd=PLACE, PIPELINE_LAKE="lake"
    )
    if found.code not in (0, *screen.codes):
        raise SystemExit(f"{screen.command}: exit code {found.code}\n{found.text}")
    return found


def write_shop(path: Path) -> None:
    """A shop's export: 1,200 made-up reviews with stars from 1 to 5."""
    words = {
        1: "stale awful bland",
        2: "dull salty bland",
        3: "plain usual fine",
        4: "fresh tasty fine",
        5: "lovely fresh great",
    }
    chance = random.Random(0)
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["Id", "ProductId", "Score", "Text"])
        for number in range(1, 1201):
            stars = chance.randint(1, 5)
            first, second = (chance.choice(words[stars].split()) for _ in range(2))
            text = f"Bought {number % 7 + 2} bags of it: {first}, and {second}."
            rows.writerow([number, f"B{number % 60:04}", stars, text])


def draw(shown: Shown, command: str, path: Path) -> None:
    """Writes what a terminal shows as an SVG."""
    console = Console(width=shown.columns, record=True, file=io.StringIO(), force_terminal=True)
    console.print(Text.assemble(("$ ", "dim"), (command, "bold")))
    buffer = shown.screen().buffer
    last = max((number for number, row in buffer.items() if any(cell.data.strip() for cell in row.values())), default=-1)
    for number in range(last + 1):
        line = Text()
        cells = [buffer[number][place] for place in range(shown.columns)]
        for (colour, bold), same in itertools.groupby(cells, lambda cell: (_colour(cell.fg), cell.bold)):
            line.append("".join(cell.data for cell in same), Style(color=colour, bold=bold) if colour or bold else "")
        line.rstrip()
        console.print(line)
    svg = console.export_svg(title=f"{shown.columns} columns", theme=MONOKAI, code_format=FRAME, unique_id="terminal")
    path.write_text("".join(f"{line.rstrip()}\n" for line in svg.splitlines()), encoding="utf-8")


def _colour(name: str) -> str | None:
    if name == "default":
        return None
    return f"#{name}" if len(name) == 6 and all(digit in "0123456789abcdef" for digit in name) else NAMES.get(name, name)


if __name__ == "__main__":
    main()
