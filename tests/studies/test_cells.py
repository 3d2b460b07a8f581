from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acaikit.studies.cells import cells, tail, written
from acaikit.studies.layout import NAME

VALUES = st.one_of(
    st.integers(-3, 3),
    st.floats(0, 1),
    st.text(max_size=8),
    st.sampled_from(["a b", "a_b", "'a b'", "ä", "x" * 300, "[@KL()]", "[]", "1,depth=2", "2,depth=1", "1", "2"]),
)
GRIDS = st.dictionaries(
    st.sampled_from(["ACAI.weight", "depth", "Experiment.batch_size", "s/KL.weight"]),
    st.lists(VALUES, min_size=1, max_size=4, unique_by=(written, lambda value: value)),
    max_size=3,
)


@settings(deadline=None, max_examples=100)
@given(GRIDS)
def test_whatever_the_grid_names_are_distinct_and_lead_nowhere_else(grid: dict) -> None:
    found = cells(grid)
    tails = [tail(cell) for cell in found]
    assert len(set(tails)) == len(found)
    assert all(NAME.fullmatch(f"mnist_denoising_acai_256{name}-s4") for name in tails)


def test_names_of_two_axes_that_read_alike() -> None:
    grid = {"a": ["1,b=2", "1"], "b": ["3", "2,b=3"]}
    assert len({tail(cell) for cell in cells(grid)}) == 4


@pytest.mark.parametrize(
    ("cell", "name"),
    [
        ((), ""),
        (("ACAI.weight = 0.1", "Experiment.batch_size = 16"), ",ACAI.weight=0.1,batch_size=16"),
        (("Experiment.regularizers = [@KL(), @ACAI()]", "x = -1e-3"), ",regularizers=KL+ACAI,x=-1e-3"),
        (("Experiment.regularizers = [@ACAI()]",), ",regularizers=ACAI"),
        (("Experiment.regularizers = []",), ",regularizers=empty"),
    ],
)
def test_names_are_what_a_reader_expects(cell: tuple[str, ...], name: str) -> None:
    assert tail(cell) == name


@pytest.mark.parametrize("value", ["[@a/KL()]", "[@KL]", "[@KL(),@ACAI()]", "[1, 2]", "'crop'", "%m"])
def test_what_a_name_cant_hold_has_a_hash(value: str) -> None:
    name, _, digest = tail((f"x = {value}",)).rpartition("_")
    assert name.startswith(",x=") and "," not in name[1:]
    assert len(digest) == 8 and int(digest, 16) >= 0
