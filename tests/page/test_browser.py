"""The page in a real browser: it keeps its own rules, works without JavaScript, and fits a small screen."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from html import escape
from pathlib import Path

import pytest

import agent.page
from agent.page.html import html
from agent.page.view import view
from tests.page.samples import inputs
from tests.page.test_html import HOSTILE, JS

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
)  # fmt: skip
# A window is never narrower than 500 pixels, a frame in it may be. Told is what each page's width is, how far it scrolls, and how many
# of its elements reach over the right edge.
MEASURE = """<script>
const aside = ".scroll, .unseen, caption, thead, details:not([open])";
onload = () => {
  document.title = [...document.querySelectorAll("iframe")].map((frame) => {
    const page = frame.contentDocument, right = frame.contentWindow.innerWidth + 1;
    const wide = [...page.querySelectorAll("body *")].filter(
      (e) => e.getBoundingClientRect().right > right && !e.closest(aside));
    return [right - 1, page.documentElement.scrollWidth, wide.length].join(" ");
  }).join(", ");
  document.body.replaceChildren();
};
</script>"""
WIDTHS = (360, 390, 700, 1101, 1280)
Browser = Callable[..., str]
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


@pytest.fixture
def browser(tmp_path: Path) -> Browser:
    """`browser(page, *flags)`: the page's document after it was shown, as text."""

    def show(page: str, *flags: str) -> str:
        file = tmp_path / "report.html"
        file.write_text(page, encoding="utf-8")
        done = subprocess.run(
            [str(CHROMIUM), *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", *flags, "--dump-dom", file.as_uri()],
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0 and "<html" in done.stdout, done.stderr[-2000:]
        return done.stdout

    return show


def hostile() -> str:
    numbers: dict[str, int] = {}
    odd = "".join(HOSTILE)
    return html(view(inputs(lambda text: f"{odd}{numbers.setdefault(text, len(numbers))}")))


def test_our_script_runs_and_no_other(browser: Browser) -> None:
    shown = browser(
        html(view(inputs())).replace("</main>", "<script>document.title = 'owned'</script></main>")
    )
    assert "<title>factd: verification of revision 3</title>" in shown, "a script that slipped in did not run"
    assert ">2 of 2</output>" in shown and ">6 of 6</output>" in shown, "ours did"


def test_hostile_words_run_nothing(browser: Browser) -> None:
    shown = browser(hostile())
    assert "<title>factd: verification of revision 3</title>" in shown
    assert (
        shown.count("<script") == 1
        and "<img" not in shown
        and "onload=" not in re.sub(r"&lt;.*?&gt;|&quot;", "", shown)
    )
    assert "U+202E" in shown and "\u202e" not in shown


def test_nothing_sticks_out(browser: Browser) -> None:
    pages = [
        html(view(inputs())).replace("<details>", "<details open>"),
        hostile().replace("<details>", "<details open>"),
    ]
    frames = [
        f'<iframe width="{width}" style="border: 0" srcdoc="{escape(page)}"></iframe>'
        for width in WIDTHS
        for page in pages
    ]
    shown = browser(f"<!doctype html>{''.join(frames)}{MEASURE}")
    told = re.search(r"<title>([\d ,]+)</title>", shown)
    assert told, "the pages were not measured"
    assert told[1].split(", ") == [f"{width} {width} 0" for width in WIDTHS for _ in pages]


def test_without_javascript_all_is_there_and_no_dead_control(browser: Browser) -> None:
    """With another script than the policy knows it is as if there were none."""
    shown = browser(html(view(inputs())).replace(JS, JS + " "))
    assert re.search(r'<div class="filter" hidden', shown) and "Zorland follows" in shown


def test_light_and_dark(browser: Browser, tmp_path: Path) -> None:
    from matplotlib import image

    page, means = html(view(inputs())), []
    for scheme in (0, 1):
        file = tmp_path / f"{scheme}.png"
        browser(
            page,
            f"--blink-settings=preferredColorScheme={scheme}",
            "--window-size=700,900",
            f"--screenshot={file}",
        )
        pixels = image.imread(file)[..., :3]
        means.append(float(pixels.mean()))
        assert pixels.std() > 0.05, "blank"
    assert means[0] < 0.3 and means[1] > 0.8


def test_colours_are_far_enough_apart() -> None:
    """WCAG AA: 4.5 to 1 for text, 3 to 1 for signs, in both schemes."""
    css = (Path(agent.page.__file__).parent / "report.css").read_text()
    schemes = [
        dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))
        for block in re.findall(r":root \{(.*?)\}", css, re.S)
    ]
    assert len(schemes) == 2 and schemes[0].keys() == schemes[1].keys()
    for scheme in schemes:
        text = [(c, p) for c in ("ink", "soft", "accent", "good", "bad", "warn") for p in ("paper", "raised")]
        text += [(c, f"{c}-paper") for c in ("good", "bad", "warn")]
        text += [("ink", "good-paper"), ("ink", "bad-paper"), ("accent", "paper")]
        signs = [(c, "paper") for c in ("before", "wanted", "l0", "l1", "l2", "l3", "overlay")]
        for least, pairs in ((4.5, text), (3.0, signs)):
            for one, other in pairs:
                assert contrast(scheme[one], scheme[other]) >= least, (
                    one,
                    other,
                    contrast(scheme[one], scheme[other]),
                )


def contrast(one: str, other: str) -> float:
    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
