import pytest
from acaikit_example import Sparse

from acaikit.testing import check_regularizer


@pytest.mark.parametrize("data", ["images", "sequences", "vectors"])
def test_it_keeps_the_rules(data: str) -> None:
    check_regularizer(Sparse, data)
