"""What was found in a model: its blocks and what can't be triaged, as data and as a table."""

from collections.abc import Iterable, Sequence

import keras

from deep_net_triage.network import costs, surgery
from deep_net_triage.network.blocks import Block, Refused
from deep_net_triage.network.graphs import by_name


def of_blocks(model: keras.Model, blocks: Iterable[Block]) -> list[dict[str, object]]:
    """Describes a model's blocks.

    Returns:
        For each its name, its first and last layer, how many layers and convolutions it holds,
        the shapes of what it receives and returns (rows, columns, channels), and its parameters
        and multiply-accumulates with those of the one convolution in its place.
    """
    operations = by_name(model)
    described = []
    for block in blocks:
        own = [operations[name] for name in block.layers]
        received = block.received_by(model).shape[1:]
        replacement = surgery.replacement(model, block)
        described.append(
            {
                "name": block.name,
                "first": block.layers[0],
                "last": block.layers[-1],
                "pool": block.pool,
                "layers": len(block.layers),
                "convolutions": len(block.convolutions),
                "received": list(received),
                "returned": list(own[-1].output.shape[1:]),
                "parameters": costs.parameters_of(own),
                "macs": costs.macs_of(own),
                "compressed_parameters": costs.parameters(replacement),
                "compressed_macs": costs.macs(replacement),
            }
        )
    return described


def of_refused(refused: Iterable[Refused]) -> list[dict[str, str]]:
    """Describes the segments with convolutions that can't be triaged."""
    return [{"first": r.first, "last": r.last, "reason": r.reason} for r in refused]


def text(
    name: str, blocks: Sequence[dict[str, object]], refused: Sequence[dict[str, str]]
) -> str:
    """Returns what was found in a model, as a table and a line for each refusal."""
    lines = [("", "layers", "conv", "receives", "returns", "parameters", "macs", "one conv")]
    for block in blocks:
        lines.append(
            (
                block["name"],
                f"{block['first']} to {block['last']}",
                str(block["convolutions"]),
                _sides(block["received"]),
                _sides(block["returned"]),
                f"{block['parameters']:,}",
                f"{block['macs']:,}",
                f"{block['compressed_parameters']:,} / {block['compressed_macs']:,}",
            )
        )
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    table = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
    gone = [f"not a block: {r['first']} to {r['last']}: {r['reason']}" for r in refused]
    return "\n".join([f"{name}: {len(blocks)} blocks", *table, *gone])


def _sides(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))
