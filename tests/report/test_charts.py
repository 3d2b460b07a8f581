from __future__ import annotations

import re
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.optimize import minimize

from acaikit.errors import UserError
from acaikit.report import charts
from acaikit.report.charts import apart, chart, log_or_linear, look
from acaikit.report.curves import curves
from acaikit.report.scorecard_plot import scorecard


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that were written."""
    found: list[Figure] = []
    save = charts.output.save
    monkeypatch.setattr(charts.output, "save", lambda figure, file: (found.append(figure), save(figure, file)))
    return found


def panels(figure: Figure) -> dict[str, Axes]:
    return {axes.get_title("left"): axes for axes in figure.axes}


def texts(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=4))
@settings(deadline=None, max_examples=20)
def test_places_are_the_nearest_that_are_apart(wanted: list[float]) -> None:
    places = apart(wanted, 3)
    order = np.argsort(wanted, kind="stable")
    assert (np.diff(places[order]) >= 3 - 1e-9).all()
    limits = [{"type": "ineq", "fun": lambda p, i=i: p[order[i + 1]] - p[order[i]] - 3} for i in range(len(wanted) - 1)]
    start = np.empty(len(wanted))
    start[order] = np.sort(wanted) + 3 * np.arange(len(wanted))
    best = minimize(lambda p: ((p - wanted) ** 2).sum(), start, constraints=limits, method="SLSQP")
    assert ((places - wanted) ** 2).sum() <= best.fun + 1e-3


def test_no_two_of_many_runs_look_alike() -> None:
    assert len({(look(i)["color"], str(look(i)["linestyle"])) for i in range(35)}) == 35


@pytest.mark.parametrize(
    ("values", "expected"),
    [([1, 100], "log"), ([1, 99], "linear"), ([0, 1e5], "linear"), ([-1, 1e5], "linear"), ([np.nan, 1, 1e3], "log")],
)
def test_decades_are_drawn_on_a_log_axis(values: list[float], expected: str) -> None:
    axes = Figure().subplots()
    log_or_linear(axes, "y", values)
    assert (axes.get_yscale(), axes.get_xscale()) == (expected, "linear")


def test_the_users_own_settings_change_nothing(tmp_path: Path) -> None:
    table = {"a": {"samples": np.arange(3.0), "x": np.arange(3.0)}}
    curves(table, tmp_path / "a.png", title="t")
    with matplotlib.rc_context({"axes.facecolor": "black", "font.size": 30, "lines.linewidth": 9}):
        curves(table, tmp_path / "b.png", title="t")
        assert matplotlib.rcParams["font.size"] == 30
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_a_chart_of_another_ending_is_refused_before_it_is_drawn(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="png"), chart(1, tmp_path / "a.gif", "t"):
        pytest.fail("drawn")


def test_curves_keep_gaps_and_show_lone_points(seen: list[Figure], tmp_path: Path) -> None:
    x = np.arange(6.0)
    y = np.array([1, 2, np.nan, 3, np.inf, 5])
    curves({"a": {"step": x, "samples": x, "s": y, "none": x * np.nan}}, tmp_path / "a.png", title="t")
    (axes,) = panels(seen[0]).values()
    line, alone = axes.lines
    np.testing.assert_array_equal(line.get_ydata(), [1, 2, np.nan, 3, np.nan, 5])
    np.testing.assert_array_equal(alone.get_xdata(), [3, 5])
    assert texts(axes) == []


def test_runs_in_one_panel_are_named_at_their_ends(seen: list[Figure], tmp_path: Path) -> None:
    x = np.arange(4.0)
    tables = {"one $": {"samples": x, "s": x}, "two": {"samples": x, "s": x, "t": np.array([1, 10, 1e3, np.nan])}}
    for ending in ("png", "pdf", "svg"):
        curves(tables, tmp_path / f"a.{ending}", title="t", scores=["s", "t*"])
    found = panels(seen[0])
    assert list(found) == ["s", "t"]
    assert (texts(found["s"]), texts(found["t"])) == (["one $", "two"], ["two"])
    low, high = (text.get_position()[1] for text in found["s"].texts)
    assert high - low > 0.05
    assert (found["s"].get_yscale(), found["t"].get_yscale()) == ("linear", "log")
    for axes in found.values():
        for text in [*axes.texts, *axes.get_xticklabels(), *axes.get_yticklabels(), axes.xaxis.label, axes.title]:
            assert text.get_fontsize() >= 7


def test_what_curves_cannot_draw(tmp_path: Path) -> None:
    x = np.arange(2.0)
    with pytest.raises(UserError, match="run has no rows"):
        curves({"run": {"samples": np.empty(0)}}, tmp_path / "a.png", title="t")
    with pytest.raises(UserError, match="no run has measured zzz; there are: s"):
        curves({"run": {"samples": x, "s": x}}, tmp_path / "a.png", title="t", scores=["s", "zzz"])
    with pytest.raises(UserError, match="nothing to draw"):
        curves({"run": {"samples": x, "s": x * np.nan}}, tmp_path / "a.png", title="t")
    assert not list(tmp_path.iterdir())


CARD = {
    **{f"headline/{column}": value for column, value in {"lerp": 0.5, "collapsed": 0.1, "slerp": np.nan}.items()},
    **{"headline/cross_dissolve": 0.3, "headline/perfect": 0.9, "other/lerp": 4.0, "ends/lerp": 0.2},
}


def marks(axes: Axes) -> dict[float, float]:
    lines = [line for line in axes.lines if line.get_marker() not in ("None", None, "")]
    points = np.concatenate([np.stack(line.get_data(), 1) for line in lines])
    return {round(float(y), 6): float(x) for x, y in points if np.isfinite(x)}


def test_a_scorecard_has_a_line_for_each_path_and_the_counterfeits_below(seen: list[Figure], tmp_path: Path) -> None:
    scorecard({"a": CARD}, tmp_path / "a.png", title="t")
    found = panels(seen[0])
    assert list(found) == ["headline", "ends", "other"]
    called = [label.get_text() for label in found["headline"].get_yticklabels()]
    assert called == ["lerp", "slerp", "cross dissolve", "collapsed", "perfect"]
    assert marks(found["headline"]) == {0: 0.5, 2: 0.3, 3: 0.1, 4: 0.9}
    assert marks(found["other"]) == {0: 4.0}
    assert texts(found["headline"]) == ["0.500", "not defined", "0.300", "0.100", "0.900"]
    (floor,) = found["headline"].patches
    assert floor.get_extents().x1 == pytest.approx(found["headline"].transData.transform((0.3, 0))[0])


def test_scorecards_of_several_runs_and_formats(seen: list[Figure], tmp_path: Path) -> None:
    for ending in ("png", "pdf", "svg"):
        for name in "ab":
            file = tmp_path / f"{name}.{ending}"
            scorecard({"x": CARD, "y": {"headline/lerp": 0.7, "doubt_ACAI/lerp": -1.0}}, file, title="t")
        assert (tmp_path / f"a.{ending}").read_bytes() == (tmp_path / f"b.{ending}").read_bytes()
    found = panels(seen[0])
    assert [text.get_text() for text in found["headline"].get_legend().get_texts()] == ["x", "y"]
    assert sorted(marks(found["headline"]).values()) == [0.1, 0.3, 0.5, 0.7, 0.9]
    with pytest.raises(UserError, match=re.escape("acaikit eval")):
        scorecard({"x": {}}, tmp_path / "c.png", title="t")
