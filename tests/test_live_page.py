"""The page of a grid that runs: made again when a result is new, reloading itself until the grid has ended."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from analysis import live, status
from analysis.page.live import LIVE
from analysis.reading.checks import ResultsError
from analysis.verify import verify
from tests.analysis_fixtures import CARTPOLE, write_grid, write_runs
from tests.test_analysis import browser as browser

ROOT = Path(__file__).parent.parent
RELOADS = '<meta http-equiv="refresh"'


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A grid of two algorithms, of which PPO's runs are held back, and images that take no time."""
    folder = tmp_path / "mine"
    tasks = {"CartPole-v1": CARTPOLE}
    write_runs(folder, write_grid(folder, algorithms=("reinforce", "ppo"), tasks=tasks))
    (folder / "runs/CartPole-v1/ppo").rename(tmp_path / "held")
    monkeypatch.setattr(live, "drawn", lambda *_: {"svg": b'<svg width="1pt" height="1pt"/>'})
    monkeypatch.setattr(os, "nice", lambda _: 0)
    return folder


def keep(folder, monkeypatch, *between, seconds=60):
    """Keep the page while these functions are called instead of waiting; returns the page after each, and at last."""
    pages, steps = [], iter(between)

    def sleep(asked):
        assert asked == seconds
        pages.append((folder / LIVE).read_text(encoding="utf-8"))
        next(steps)()

    monkeypatch.setattr(live.time, "sleep", sleep)
    live.keep_page(folder, seconds, lambda: status.look(folder))
    return [*pages, (folder / LIVE).read_text(encoding="utf-8")]


def nothing():
    """Nothing happens meanwhile."""


def interrupt():
    raise KeyboardInterrupt


def test_the_page_follows_the_grid_and_stops_when_it_has_ended(folder, monkeypatch, capsys):
    made = []
    monkeypatch.setattr(live, "frame_of", lambda grid, make=live.frame_of: made.append(grid) or make(grid))
    held = folder.parent / "held"
    finish = lambda: held.rename(folder / "runs/CartPole-v1/ppo")  # noqa: E731
    first, same, last = keep(folder, monkeypatch, nothing, finish)
    assert len(made) == 2  # at first, and when the runs were there
    for page in (first, same):
        assert f'{RELOADS} content="60">' in page
        assert "2 of 4 runs done (50 % of the training steps)" in page
        assert "This page reloads itself every 60 s." in page
        assert "(2 of 4 runs finished)" in page  # the headline
    assert RELOADS not in last
    assert "All is done: 4 of 4 runs." in last
    assert 'href="report/index.html"' in last
    assert "../tables/" not in last  # these may not be there
    assert not (folder / "tables").exists()
    assert not (folder / "report").exists()
    assert f"{folder / LIVE}: open it in a browser." in capsys.readouterr().err
    assert not any(LIVE in note for check in verify(folder) for note in check.notes)


def test_after_ctrl_c_the_page_reloads_itself_no_more(folder, monkeypatch):
    first, last = keep(folder, monkeypatch, interrupt)
    assert RELOADS in first
    assert RELOADS not in last
    assert "Partial, at " in last
    assert "This page is made no more; python -m analysis.status --page goes on with it." in last


def test_a_grid_in_which_nothing_runs_any_more_has_ended(folder, monkeypatch):
    hour = iter(range(0, 36_000, live.STILL // 2))
    monkeypatch.setattr(live.time, "monotonic", lambda: next(hour))
    *_, last = keep(folder, monkeypatch, nothing, nothing, nothing, nothing)
    assert RELOADS not in last


def test_a_result_that_cannot_be_read_is_said_and_the_page_stays(folder, monkeypatch, capsys):
    def spoil():
        shutil.copytree(folder.parent / "held/0", folder / "runs/CartPole-v1/ppo/0")
        (folder / "runs/CartPole-v1/ppo/0/episodes.csv").write_text("cut off")

    first, second, _ = keep(folder, monkeypatch, spoil, interrupt)
    assert "2 of 4 runs done" in first
    assert "3 of 4 runs done" in second
    assert "(2 of 4 runs finished)" in second  # the headline
    assert re.search(r"error: .*episodes\.csv: ", capsys.readouterr().err)


def test_a_folder_without_a_grid_and_options_that_do_not_go_together_are_refused(folder, tmp_path):
    (folder / "runs/CartPole-v1/reinforce/0/episodes.csv").write_text("cut off")
    with pytest.raises(ResultsError, match=r"episodes\.csv"):
        live.keep_page(folder, 60, lambda: status.look(folder))
    assert not (folder / LIVE).exists()
    for words, said in {
        (tmp_path / "none", "--page"): "no such folder",
        (folder, "--page", "0"): "--page takes a number of seconds from 1 on, not 0",
        (folder, "--page", "nan"): "--page takes a number of seconds from 1 on, not nan",
        (folder, "--page", "5", "--json"): "--page goes without --json and --watch",
    }.items():
        command = [sys.executable, "-m", "analysis.status", *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
        assert done.returncode == 2
        assert said in done.stderr
        assert "Traceback" not in done.stderr


def test_a_reloaded_page_stays_where_it_was_with_the_same_parts_unfolded(folder, monkeypatch, browser):
    keep(folder, monkeypatch, interrupt)
    frame = live.frame_of(live.read_grid(folder))
    live.write(folder / LIVE, frame, live.Live("Partial.", 3600))
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto((folder / LIVE).as_uri())
    page.locator("#settings details").first.evaluate("fold => fold.open = true")
    page.evaluate("document.documentElement.style.scrollBehavior = 'auto'; scrollTo(0, 700)")
    opened = page.locator("main details[open]").count()
    at = page.evaluate("scrollY")
    assert at > 100
    page.reload()
    assert page.evaluate("scrollY") == pytest.approx(at, abs=2)
    assert page.locator("main details[open]").count() == opened
    page.close()


def test_the_finished_report_does_not_reload_itself():
    template = (ROOT / "analysis/page/page.html.j2").read_text(encoding="utf-8")
    assert template.count(RELOADS) == 1
    assert f"{{% if live and live.seconds %}}{RELOADS}" in template
