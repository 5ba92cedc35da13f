"""Which precision a study has if the user leaves it to the program (`--precision=auto`).

1. A study that exists keeps the precision in its `study.json` or, if that file is damaged, in
   its parent's result. A second measurement or another machine might choose another one, and
   its results would not count.
2. On GPUs `devices` decides.
3. On a CPU without instructions for bfloat16 it is float32. On others, so is a deterministic
   study, because a measurement may come out differently each time, and a study of a given
   model, whose layers keep the precision they were saved with.
4. Otherwise a training step is measured both ways, under the lock of `study.json`, so that
   processes that begin a study together agree.
"""

import dataclasses

import keras

from deep_net_triage import devices
from deep_net_triage.commands.settings import Settings
from deep_net_triage.learning import precision_timing
from deep_net_triage.learning.timed_training import TimedTraining
from deep_net_triage.progress import Progress
from deep_net_triage.records import files, provenance, results
from deep_net_triage.study.plan import Plan, untrained


def is_undecided(settings: Settings) -> bool:
    """Returns whether it takes a record or a measurement to know the precision."""
    return (
        settings.precision == "auto"
        and not settings.deterministic
        and devices.trains_in_bfloat16()
    )


def as_recorded(settings: Settings) -> Settings:
    """Returns settings with the precision of the study in their folder, if none is typed."""
    recorded = _recorded(settings)
    if recorded and settings.precision == "auto":
        return dataclasses.replace(settings, precision=recorded)
    return settings


def recorded_meanwhile(settings: Settings) -> Settings:
    """Returns settings with the precision of a study that another command has begun, if any.

    Layers that are made from now on have it.
    """
    recorded = _recorded(settings)
    if recorded:
        keras.config.set_dtype_policy(recorded)
    return dataclasses.replace(settings, precision=recorded or settings.precision)


def choose(plan: Plan, progress: Progress) -> tuple[str, TimedTraining | None]:
    """Returns the dtype policy for a planned study: another process's choice, or the faster.

    If it was measured, the training that was timed in this precision is returned as well.

    Args:
        plan: of a study whose parent is trained; in float32, or as another process recorded.
        progress: is told what was measured.
    """
    settings, dataset = plan.settings, plan.dataset
    recorded = _recorded(settings)
    if recorded:
        return recorded, None
    progress.say("precision: measuring a training step in float32 and in bfloat16")
    measured = precision_timing.measure(lambda: untrained(settings, dataset), dataset, settings)
    chosen, gain = measured.faster, measured.gain
    progress.say(f"precision: {chosen}; steps in bfloat16 are {gain:.2f} times as fast")
    return chosen, measured.trainings[chosen]


def _recorded(settings: Settings) -> str | None:
    """Returns the precision of the study in a folder; None if there is none to be read."""
    study = files.unless_damaged(provenance.read, settings.folder / "study.json")
    if study and study.settings:
        return study.settings["precision"]
    parent = files.unless_damaged(results.read_parent, settings.folder / "parent")
    return parent and parent.settings.get("precision")
