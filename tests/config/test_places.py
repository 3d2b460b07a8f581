from __future__ import annotations

import pytest

from acaikit.config import read_resolved, telling_places
from acaikit.errors import ConfigError, UserError

CONFIG = """Experiment.encoder = @ConvEncoder()
Experiment.decoder = @small/ConvDecoder()
ConvEncoder.scales = %scales
small/ConvDecoder.scales = 2
scales = %two
two = 3
Experiment.regularizers = [@KL(), @ACAI()]
"""


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("ConvDecoder.scales = 2 is odd", "r.gin:4: ConvDecoder.scales = 2 is odd"),
        # what a value comes from is named first: it is the line to change
        (
            "ConvEncoder.scales is odd",
            "r.gin:6: ConvEncoder.scales is odd (scales is bound at r.gin:5, ConvEncoder.scales is bound at r.gin:3)",
        ),
        ("ACAI is for images only, and ACAI it is", "r.gin:7: ACAI is for images only, and ACAI it is"),
        # a parameter that has its default: the line that asks for the part
        ("ConvDecoder.depth = 16 is odd", "r.gin:2: ConvDecoder.depth = 16 is odd"),
        (
            "ConvEncoder and ConvDecoder.scales differ",
            "r.gin:1: ConvEncoder and ConvDecoder.scales differ (small/ConvDecoder.scales is bound at r.gin:4)",
        ),
    ],
)
def test_a_message_is_given_the_lines_of_what_it_names(message: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught, telling_places(read_resolved(CONFIG, "r.gin")):
        raise UserError(message)
    assert caught.value.faults == [told]


@pytest.mark.parametrize(
    "error", [UserError("np.load failed"), ConfigError(["r.gin:9: ConvEncoder.scales"]), OSError()]
)
def test_other_errors_are_left_alone(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, telling_places(read_resolved(CONFIG, "r.gin")):
        raise error
    assert caught.value is error
