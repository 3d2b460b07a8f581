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


def test_a_remark_on_a_column_stands_below_where_it_is_drawn(seen: list[Figure], tmp_path: Path) -> None:
    x = np.arange(4.0)
    for scores in ((), ("t",)):
        curves(
            {"a": {"samples": x, "s": x, "t": x}}, tmp_path / "a.png", title="t", scores=scores, remarks={"s": "So."}
        )
    both, other = seen
    assert (list(panels(both)), both.get_supxlabel()) == (["s *", "t"], "* So.")
    assert (list(panels(other)), other.get_supxlabel()) == (["t"], "")


CARD = {
    **{f"headline/{column}": value for column, value in {"lerp": 0.5, "collapsed": 0.1, "slerp": np.nan}.items()},
    **{"headline/cross_dissolve": 0.3, "headline/perfect": 0.9, "other/lerp": 4.0, "ends/lerp": 0.2},
    **{"middle/lerp": 0.1, "nearest_ratio/lerp": 1.2, "doubt_ACAI/lerp": 0.5, "endpoint_error_deg/lerp": 3.0},
}
HEADINGS = ["headline ↑", "ends ↑", "middle ↑", "doubt ACAI ↓", "nearest ratio → 1", "endpoint error deg ↓", "other"]


def dots(axes: Axes) -> list[tuple[float, float]]:
    """Height and value of each mark, from top to bottom."""
    found = [line.get_data() for line in axes.lines if line.get_marker() not in ("None", None, "")]
    return sorted((round(float(np.squeeze(y)), 6), float(np.squeeze(x))) for x, y in found)


def test_a_scorecard_has_a_line_for_each_path_and_the_counterfeits_below(seen: list[Figure], tmp_path: Path) -> None:
    scorecard({"a": CARD}, tmp_path / "a.png", title="t")
    found = panels(seen[0])
    assert list(found) == HEADINGS
    large = found["headline ↑"]
    called = [label.get_text() for label in large.get_yticklabels()]
    assert called == ["lerp", "slerp", "cross dissolve", "collapsed", "perfect"]
    assert dots(large) == [(0, 0.5), (2, 0.3), (3, 0.1), (4, 0.9)]
    assert dots(found["other"]) == [(0, 4.0)]
    assert texts(large) == ["0.500", "not defined", "0.300", "0.100", "0.900"]
    (floor,) = large.patches
    assert floor.get_extents().x1 == pytest.approx(large.transData.transform((0.3, 0))[0])
    fills = {
        round(float(line.get_ydata()[0])): line.get_markerfacecolor()
        for line in large.lines
        if len(line.get_ydata()) == 1
    }
    assert {line: fill == "white" for line, fill in fills.items()} == {0: False, 2: True, 3: True, 4: True}


def test_paths_keep_the_order_they_were_measured_in(seen: list[Figure], tmp_path: Path) -> None:
    names = ["slerp", "lerp", "Geodesic", "slerp_2", "zigzag", "another", "perfect", "abrupt_switch", "cross_dissolve"]
    card = {f"headline/{name}": 0.5 for name in names}
    scorecard({"a": card}, tmp_path / "a.png", title="t", paths=["slerp", "lerp", "slerp", "Geodesic"])
    called = [label.get_text() for label in panels(seen[0])["headline ↑"].get_yticklabels()]
    expected = [
        "slerp",
        "slerp 2",
        "lerp",
        "Geodesic",
        "another",
        "zigzag",
        "cross dissolve",
        "abrupt switch",
        "perfect",
    ]
    assert called == expected


def test_scorecards_of_several_runs_and_formats(seen: list[Figure], tmp_path: Path) -> None:
    other = CARD | {"headline/lerp": 0.7, "headline/collapsed": 0.2}
    for ending in ("png", "pdf", "svg"):
        for name in "ab":
            scorecard({"_x": CARD, "$y": other, "z": {}}, tmp_path / f"{name}.{ending}", title="t")
        assert (tmp_path / f"a.{ending}").read_bytes() == (tmp_path / f"b.{ending}").read_bytes()
    large = panels(seen[0])["headline ↑"]
    assert [text.get_text() for text in large.get_legend().get_texts()] == ["_x", "$y", "z"]
    # What the runs agree on is marked once, on its line; where they differ, each has its place around it.
    places = dots(large)
    assert [value for _, value in places] == [0.5, 0.7, 0.3, 0.1, 0.2, 0.9]
    assert [height for height, _ in places] == pytest.approx([-0.8 / 3, 0, 2, 3 - 0.8 / 3, 3, 4], abs=1e-5)
    with pytest.raises(UserError, match=re.escape("acaikit eval")):
        scorecard({"x": {}}, tmp_path / "c.png", title="t")


@pytest.mark.parametrize(
    ("switch", "said"), [([15, 15], "15"), ([15, 12], "12 to 15"), ([-9, -9], "-9"), ([1.5, 1.5], None)]
)
def test_a_counterfeit_far_away_does_not_squeeze_the_paths(
    seen: list[Figure], tmp_path: Path, switch: list[float], said: str | None
) -> None:
    cards = {
        name: {"headline/lerp": 0.5, "step_ratio/lerp": 1.1, "step_ratio/slerp": 1.3, "step_ratio/abrupt_switch": value}
        for name, value in zip("ab", switch, strict=True)
    }
    scorecard(cards, tmp_path / "a.png", title="t")
    axes = panels(seen[0])["step ratio ↓"]
    low, high = axes.get_xlim()
    assert (texts(axes) == [said]) == (said is not None)
    assert high - low < (0.5 if said else 1)
    (mark,) = [line for line in axes.lines if line.get_ydata()[0] == 2]
    x, _ = mark.get_transform().transform((mark.get_xdata()[0], 2))
    edges = axes.get_window_extent()
    expected = {"15": edges.x1, "12 to 15": edges.x1, "-9": edges.x0, None: axes.transData.transform((1.5, 2))[0]}
    assert x == pytest.approx(expected[said])
    assert mark.get_marker() == {edges.x1: ">", edges.x0: "<"}.get(expected[said], "o")


def test_decades_of_a_score_are_on_a_log_axis_with_nothing_at_the_edge(seen: list[Figure], tmp_path: Path) -> None:
    columns = {"lerp": 1e-4, "slerp": 2e-4, "perfect": 2e-7, "cross_dissolve": 6e-3}
    card = {"headline/lerp": 0.5, **{f"mean_distance/{column}": value for column, value in columns.items()}}
    scorecard({"a": card}, tmp_path / "a.png", title="t")
    axes = panels(seen[0])["mean distance ↓"]
    assert axes.get_xscale() == "log"
    assert dots(axes) == [(0, 1e-4), (1, 2e-4), (2, 6e-3), (3, 2e-7)]
