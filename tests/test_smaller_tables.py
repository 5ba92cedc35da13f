import dataclasses

from deep_net_triage.findings import smaller_tables
from deep_net_triage.findings.page import GAP
from deep_net_triage.network.latencies import Latency
from deep_net_triage.records.compressions import Step
from tests.compressions import compression, rival, smaller

MINUS = "\u2212"

FINAL = "final retraining, mean of 3 seeds"


def shown(table):
    """The cells by column titles, each with its group in front, from top to bottom."""
    return {
        f"{column.group} {column.title}".strip(): [
            cell.text.replace("\u00a0", " ") for cell in column.cells
        ]
        for column in table.columns
    }


def test_steps_stand_between_the_parent_and_the_final_retraining():
    steps = (*compression().steps, Step("block1", "stn"))
    assert shown(smaller_tables.steps(smaller(of=compression(steps=steps)))) == {
        "block": ["parent", "block2", "block4_last", "block3", "block1", FINAL],
        "method": ["", "STN", "STN", "CM-RW", "STN", ""],
        "accuracy, % validation images": ["91.0", "90.5", "88.0", "89.5", GAP, "89.8"],
        "accuracy, % test images": ["90.0", "89.3", "87.1", "88.4", GAP, "88.9"],
        "saved so far, % MACs": ["0.0", "20.0", "50.0", "40.0", GAP, "40.0"],
        "saved so far, % parameters": ["0.0", "10.0", "17.5", "25.0", GAP, "25.0"],
        "outcome": ["", "kept", "undone", "kept", "failed", "kept"],
    }


def test_where_the_test_images_decide_they_have_one_column():
    finals = (dataclasses.replace(compression().finals[0], judged_accuracy=0.8),)
    table = shown(smaller_tables.steps(smaller(of=compression(held_out=0, finals=finals))))
    assert "accuracy, % validation images" not in table
    assert table["method"][-1] == ""
    assert table["outcome"][-1] == "undone"


def test_candidates_say_what_became_of_them():
    assert shown(smaller_tables.candidates(compression(save="latency"))) == {
        "block": ["block2", "block3", "block4_last", "block1", "block4", "block2_first"],
        "method": ["STN", "CM-RW", "STN", "STN", "STN", "STN"],
        "lost alone, points": [
            f"0.2 [{MINUS}1.1, 1.5]",
            f"1.1 [{MINUS}0.2, 2.4]",
            f"{MINUS}0.1 [{MINUS}1.3, 1.1]",
            "8.0 [5.0, 11.0]",
            "2.0 [0.7, 3.3]",
            f"1.0 [{MINUS}0.3, 2.3]",
        ],
        "latency saved, %": ["20.0", "20.0", "30.0", "10.0", f"{MINUS}10.0", "10.0"],
        "outcome": [
            "kept",
            "kept",
            "undone",
            "loses too much",
            "saves nothing",
            "overlaps a compressed one",
        ],
    }


def test_alternatives_stand_below_the_compressed_network():
    found = smaller(
        rival("scratch", -3.0, -4.0, -2.0, correct={0: [], 1: []}, accuracy=0.851),
        rival("pruned", 0.5, -0.5, 1.5, macs=590, parameters=500, from_compressed=None),
    )
    assert shown(smaller_tables.alternatives(found)) == {
        "network": ["compressed", "from scratch", "pruned"],
        "seeds": ["3", "2", "3"],
        "test accuracy, %": ["88.9", "85.1", "89.4"],
        "saved, % MACs": ["40.0", "40.0", "41.0"],
        "saved, % parameters": ["25.0", "25.0", f"{MINUS}25.0"],
        "difference, points from the parent": [
            f"{MINUS}1.1 [{MINUS}1.8, {MINUS}0.4]",
            f"{MINUS}4.1 [{MINUS}5.1, {MINUS}3.1]",
            f"{MINUS}0.6 [{MINUS}1.6, +0.4]",
        ],
        "difference, points from the compressed": [
            "",
            f"{MINUS}3.0 [{MINUS}4.0, {MINUS}2.0]",
            GAP,
        ],
        "what it does": [
            "replaces blocks by triage",
            "trains the compressed architecture from scratch",
            "prunes filters of the same blocks by their L1 norm, and retrains",
        ],
    }


def test_latencies_are_milliseconds_and_a_factor():
    measured = (
        Latency("parent", "keras", 64, 1, 0.5, 0.01),
        Latency("smaller", "keras", 64, 1, 0.4, 0.02),
        Latency("parent", "litert_int8", 1, 2, 0.001, 0.0),
        Latency("smaller", "litert_int8", 1, 2, 0.002, 0.0),
    )
    assert shown(smaller_tables.latencies(measured)) == {
        "format": ["Keras", "LiteRT int8"],
        "images": ["64", "1"],
        "threads": ["1", "2"],
        "parent, ms median": ["500.00", "1.00"],
        "parent, ms spread": ["10.00", "0.00"],
        "compressed, ms median": ["400.00", "2.00"],
        "compressed, ms spread": ["20.00", "0.00"],
        "times as fast": ["1.25", "0.50"],
    }
