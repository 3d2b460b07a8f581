"""Why a run of a study failed, without the advice that it gives to whoever runs it alone."""

from __future__ import annotations

import re

from acaikit.studies.outcome import Outcome

ADVICE = re.compile(r"[.;] (To try:|Once the cause is mended, ).*")


def cause(outcome: Outcome) -> str:
    """Return what the run said of why it failed: in a study, the way on is another ``acaikit sweep``."""
    return ADVICE.sub("", outcome.telling.removeprefix("error: "))
