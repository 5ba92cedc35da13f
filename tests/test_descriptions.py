import subprocess
import sys

from deep_net_triage.network import descriptions
from deep_net_triage.network.descriptions import BlockDescription, Refused

BLOCK = BlockDescription(
    name="block1",
    first="conv1",
    last="relu2",
    pool="pool",
    layers=4,
    convolutions=2,
    received=(8, 8, 2),
    returned=(8, 8, 3),
    parameters=1234,
    macs=56789,
    compressed_parameters=57,
    compressed_macs=3456,
)


def test_text_names_every_block_and_every_refusal():
    refused = [Refused("stem", "head", "it is odd")]
    lines = descriptions.text("toy", [BLOCK], refused, ["a", "b"], ["block1 is large"])
    title, header, row, refusal, note, missing = lines.splitlines()
    assert title == "toy: 1 block"
    columns = "layers conv receives returns parameters macs replacement (parameters / macs)"
    assert " ".join(header.split()) == columns
    expected = "block1 conv1 to relu2 2 8 x 8 x 2 8 x 8 x 3 1,234 56,789 57 / 3,456"
    assert " ".join(row.split()) == expected
    assert refusal == "not a block: stem to head: it is odd"
    assert note == "block1 is large"
    assert missing == "not counted in macs: a, b"


def test_descriptions_are_read_without_keras():
    code = (
        "import sys; import deep_net_triage.network.descriptions; "
        "assert not {'keras', 'tensorflow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
