"""What `--list_blocks` prints."""

from deep_net_triage.commands.settings import Settings
from deep_net_triage.network import blocks, costs, descriptions, inventory
from deep_net_triage.progress import Progress
from deep_net_triage.study import inputs
from deep_net_triage.study.plan import untrained


def list_blocks(settings: Settings, progress: Progress) -> None:
    """Prints a parent's blocks, and the segments that can't be replaced, with the reason.

    Raises:
        InputError: if there is no such parent, or it has no block.
    """
    with inputs.loaded(settings, progress) as read:
        network = read.model or untrained(read.settings, read.dataset)
        survey = blocks.survey(network, settings.replacement)
        chosen = survey.select(settings.blocks)
        listed = inventory.of_blocks(network, chosen)
        notes = inventory.undivided(network, chosen) + inventory.recommended(network, chosen)
        uncounted = costs.uncounted(network)
        progress.say(descriptions.text(network.name, listed, survey.refused, uncounted, notes))
