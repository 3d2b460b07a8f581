"""What is left to do of a study: the one definition of when a run is done."""

from __future__ import annotations

from acaikit.artifacts.rundir import RunDir
from acaikit.studies.fault import fault
from acaikit.studies.layout import Plan, Run, StudyDir
from acaikit.studies.outcome import State
from acaikit.studies.progress import newest


def todo(study: StudyDir, plan: Plan) -> list[Run]:
    """Return the runs that are not done, in their order."""
    return [run for run in plan.runs if not is_done(study, plan, run.name)]


def is_done(study: StudyDir, plan: Plan, name: str) -> bool:
    """Say whether a run is trained to its end, and all that the plan measures then is measured.

    The outcome alone isn't believed: the run directory may have been removed, or trained further or anew, and the plan
    may name other evaluators by now.
    """
    outcome, run = study.outcome(name), study.run(name)
    if outcome is None or outcome.state is not State.DONE or not RunDir(run).exists() or fault(run):
        return False
    measured = not plan.evaluation or outcome.evaluation == plan.evaluation
    return measured and outcome.checkpoint == newest(run)
