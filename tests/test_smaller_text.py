"""What is said of a compression and its alternatives, word for word."""

import dataclasses

import numpy as np

from deep_net_triage.findings import smaller_text
from deep_net_triage.findings.rivals import Smaller
from deep_net_triage.network.latencies import Latency
from tests.compressions import compressed, compression, estimate, right, rival, smaller, undone

HELD_OUT = (
    "5,000 validation images decided what to compress. The test images had no part in that."
)
DECIDED = "The test images decided this, so the accuracy of this network is optimistic."
SAVED = (
    "The compressed network saves 40.0 % of the multiply-accumulates and 25.0 % of the "
    "parameters; its test accuracy is 89.10 %"
)


def sentences(*rivals, **others):
    found = smaller(*rivals, **others)
    return [*smaller_text.of_network(found), *smaller_text.of_alternatives(found)]


def of_alternatives(*rivals, **others):
    return smaller_text.of_alternatives(smaller(*rivals, **others))


def test_what_was_compressed_and_what_it_costs():
    assert sentences() == [
        "Compressed: block2 and block3; 1 more step tried and undone.",
        f"{SAVED}, -0.9 points; over 3 seeds of the final retraining the mean is -1.1 points "
        "[-1.8, -0.4] from the parent.",
        "Even the low end of the interval is within the allowed drop of 2.0 points.",
        HELD_OUT,
    ]


def test_a_single_seed_and_no_undone_step():
    steps = tuple(step for step in compression().steps if step.kept)
    network = compressed(correct={0: right(891)}, from_parent=estimate(-1.9, -2.6, -1.2))
    said = sentences(network=network, of=compression(steps=steps))
    assert said[:3] == [
        "Compressed: block2 and block3.",
        f"{SAVED}, -1.9 points [-2.6, -1.2] from the parent.",
        "That is within the allowed drop of 2.0 points, "
        "but the low end of the interval is not.",
    ]


def test_test_images_that_decide_make_the_accuracy_optimistic_and_too_large_a_loss_is_said():
    network = compressed(from_parent=estimate(-2.1, -2.6, -1.6))
    said = sentences(network=network, of=compression(held_out=0))
    assert said[2:] == [
        "The mean is 0.1 points beyond the allowed drop of 2.0 points.",
        "The test images themselves decided what to compress, so this accuracy is "
        "optimistic. With --validation_fraction, validation images decide instead.",
    ]


def test_the_saved_network_may_lose_more_than_the_mean_over_seeds():
    """By hand: it is right about 87.7 % of the images, 2.3 points below the parent."""
    said = sentences(of=compression(accuracy=0.877))
    assert said[2:4] == [
        "Even the low end of the interval is within the allowed drop of 2.0 points.",
        "The saved network itself lost 0.3 points more than that.",
    ]


def test_where_drops_from_the_parent_mean_nothing_no_network_is_the_one_to_take():
    level = rival("pruned", -0.2, -0.8, 0.4)
    said = sentences(level, doubt="The parent has not learned.")
    assert said[2:] == [
        HELD_OUT,
        '"pruned" (-0.2 points [-0.8, +0.4]) can\'t be distinguished from the compressed '
        "network.",
    ]


def test_a_loss_that_is_hardly_too_large_is_not_rounded_away():
    said = sentences(network=compressed(from_parent=estimate(-2.03, -2.6, -1.6)))
    assert "0.03 points beyond the allowed drop of 2.0 points" in said[2]


def test_the_compressed_network_is_recommended_if_it_keeps_enough_accuracy():
    saves = (
        "It saves 40.0 % of the multiply-accumulates and 25.0 % of the parameters; its "
        "accuracy differs by {} from the parent, the mean of 3 seeds."
    )
    network = "the compressed network, with one layer each for block2 and block3"
    for cost, said in (
        (
            estimate(-1.1, -2.0, -0.4),
            f"Recommended: {network}. {saves.format('-1.1 points [-2.0, -0.4]')}",
        ),
        (
            estimate(-2.0, -2.6, -1.4),
            f"Recommended with reservations: {network}. "
            f"{saves.format('-2.0 points [-2.6, -1.4]')}",
        ),
        (estimate(-2.1, -2.6, -1.6), None),
        (None, None),
    ):
        found = smaller(network=compressed(from_parent=cost))
        assert smaller_text.recommendation(found, 0.02) == said
    assert smaller_text.recommendation(Smaller(undone()), 0.02) is None


def test_a_network_is_not_recommended_beyond_the_drop_that_this_command_allows():
    """The compression may have been led by another one, of 2 points."""
    found = smaller(network=compressed(from_parent=estimate(-1.1, -2.0, -0.4)))
    assert smaller_text.recommendation(found, 0.01) is None
    assert smaller_text.recommendation(found, 0.011).startswith("Recommended with reserv")


def test_a_network_that_needs_more_arithmetic_is_not_recommended():
    level = rival("pruned", -0.2, -0.8, 0.4, macs=1300)
    said = " ".join(sentences(level, network=compressed(macs=1300)))
    assert (
        '"pruned" saves no multiply-accumulates. If that is acceptable, take "pruned"' in said
    )
    for macs in (1000, 1300):
        found = smaller(network=compressed(macs=macs), of=compression(save="latency"))
        assert smaller_text.recommendation(found, 0.02) is None


def test_a_better_alternative_is_recommended_in_its_place():
    beats = rival("pruned", 1.2, 0.3, 2.1, from_parent=estimate(0.1, -0.7, 0.9))
    assert smaller_text.recommendation(smaller(beats), 0.02).startswith(
        'Recommended: "pruned". It '
    )


def test_without_correct_npy_there_is_no_interval():
    network = compressed(correct={}, from_parent=None)
    said = sentences(network=network)
    assert said[1:] == [
        f"{SAVED.replace('.10', '.1')}, -0.9 points from the parent, without an interval.",
        HELD_OUT,
    ]


def test_a_final_retraining_that_gained_nothing_or_failed():
    finals = tuple(
        dataclasses.replace(final, judged_accuracy=0.8) for final in compression().finals
    )
    assert sentences(of=compression(finals=finals))[-1] == (
        "The final retraining lowered the accuracy on the validation images; the network is "
        "saved as it was before."
    )
    assert sentences(of=compression(finals=()))[-1] == (
        "The final retraining failed; the network is saved as it was before."
    )


def test_why_nothing_was_compressed():
    for record, why in (
        (
            undone(),
            "3 steps tried, and each failed or lost more than the allowed 2.0 points",
        ),
        (
            dataclasses.replace(undone(), steps=()),
            "each candidate loses more than the allowed 2.0 points, or saves nothing",
        ),
        (dataclasses.replace(undone(), steps=(), candidates=()), "the study has no candidate"),
    ):
        assert smaller_text.of_network(Smaller(record)) == [f"Nothing was compressed: {why}."]
    unsought = dataclasses.replace(undone(), steps=(), candidates=())
    doubtful = Smaller(unsought, doubt="The parent has not learned.")
    assert smaller_text.of_network(doubtful) == [
        "Nothing was compressed: drops from this parent are meaningless."
    ]


def test_an_alternative_that_is_better_is_the_network_to_take():
    pruned = rival("pruned", 1.2, 0.3, 2.1)
    assert of_alternatives(rival("scratch", 0.0, -1.0, 1.0), pruned) == [
        '"pruned" (+1.2 points [+0.3, +2.1]) is better than the compressed network.',
        'The network to take is "pruned": alternatives/pruned-seed0/model.keras.',
        DECIDED,
    ]


def test_of_several_better_ones_the_best_is_taken():
    """By hand: 910 and 990 of 1000 images are told apart."""
    said = of_alternatives(
        rival("pruned", 10.0, 9.0, 11.0, correct={2: right(990), 1: right(990)}),
        rival("narrow", 2.0, 1.0, 3.0, correct={2: right(910), 1: right(910)}),
    )
    assert said == [
        '"pruned" (+10.0 points [+9.0, +11.0]) and "narrower" '
        "(+2.0 points [+1.0, +3.0]) are better than the compressed network.",
        'The network to take is "pruned": alternatives/pruned-seed1/model.keras.',
        'It is better than "narrower".',
        DECIDED,
    ]


def test_one_that_another_better_one_beats_is_not_taken_though_it_needs_less():
    """By hand: of 1000 images, 28 more are right than of the cheapest, and none less.

    The first is wrong about other images, so that no interval tells it apart from the two.
    """
    taught, cheap = right(915), right(887)
    first = np.roll(right(914), 300)
    said = of_alternatives(
        rival("scratch", 2.4, 0.2, 4.6, correct={0: first}),
        rival("scratch_taught", 2.5, 1.0, 4.0, correct={0: taught}),
        rival("pruned", 0.4, 0.1, 0.7, correct={0: cheap}, macs=300),
    )
    assert said[1:] == [
        'The network to take is "from scratch, distilled": '
        "alternatives/scratch_taught-seed0/model.keras.",
        'It is better than "pruned".',
        'It can\'t be distinguished from "from scratch".',
        f"{FEWEST}, give or take 1 % of the parent's.",
        HIGHEST,
        DECIDED,
    ]


NARROW = 'The network to take is "narrower": alternatives/narrow-seed0/model.keras.'
FEWEST = "It needs the fewest multiply-accumulates"
HIGHEST = "Of the networks that tie on this, it has the highest test accuracy."


def test_of_several_better_ones_that_are_level_the_cheaper_is_taken():
    said = of_alternatives(
        rival("pruned", 2.1, 1.1, 3.1),
        rival("narrow", 2.0, 1.0, 3.0, macs=500),
    )
    assert said[1:] == [
        NARROW,
        'It can\'t be distinguished from "pruned".',
        f"{FEWEST}.",
        DECIDED,
    ]


def test_of_better_ones_that_are_level_and_cost_the_same_the_most_accurate_is_taken():
    for scratch, taught, chosen in ((2.0, 2.1, "scratch_taught"), (2.1, 2.0, "scratch")):
        said = of_alternatives(
            rival("scratch", scratch, scratch - 1, scratch + 1),
            rival("scratch_taught", taught, taught - 1, taught + 1),
        )
        assert f"alternatives/{chosen}-seed0/model.keras" in said[1]
        assert said[3:] == [f"{FEWEST}, give or take 1 % of the parent's.", HIGHEST, DECIDED]


def test_where_none_is_told_apart_the_cheaper_will_do():
    level = rival("pruned", -0.2, -0.8, 0.4), rival("narrow", 0.1, -0.5, 0.7, macs=605)
    said = of_alternatives(*level, rival("scratch", -3.0, -4.0, -2.0))
    assert said == [
        '"pruned" (-0.2 points [-0.8, +0.4]) and "narrower" (+0.1 points [-0.5, +0.7]) can\'t '
        "be distinguished from the compressed network.",
        NARROW,
        f"{FEWEST}, give or take 1 % of the parent's, and fewer trainings, 1 rather than 3.",
        HIGHEST,
        DECIDED,
        '"from scratch" (-3.0 points [-4.0, -2.0]) is worse than the compressed network.',
    ]


def test_a_level_alternative_that_loses_too_much_is_not_taken():
    """The compressed network loses 1.1 points, of 2 that may be lost."""
    # It is wrong about other images than the rest, so that no interval tells it apart.
    others = {0: np.roll(right(880), 200)}
    cheap = rival("narrow", -1.0, -2.1, 0.1, macs=300, correct=others)
    found = smaller(cheap, rival("scratch", -0.5, -1.5, 0.5))
    loses = 'But "narrower" loses more than the allowed drop of 2.0 points from the parent.'
    assert smaller_text.of_alternatives(found)[1:] == [
        loses,
        'The network to take is "from scratch": alternatives/scratch-seed0/model.keras.',
        f"{FEWEST}, give or take 1 % of the parent's, and fewer trainings, 1 rather than 3.",
        DECIDED,
    ]
    assert smaller_text.of_alternatives(smaller(cheap))[1:] == [
        loses,
        "The network to take is the compressed network: compressed/model.keras.",
        DECIDED,
    ]
    assert "compressed network" in smaller_text.recommendation(smaller(cheap), 0.02)


def test_a_better_one_that_loses_too_much_is_not_taken_though_it_needs_less():
    """Against the parent: -0.1 points, and -2.1 of 2 that may be lost."""
    found = smaller(
        rival("pruned", 1.0, 0.1, 1.9),
        rival("narrow", 0.9, 0.1, 1.7, macs=300, from_parent=estimate(-2.1, -3.0, -1.2)),
    )
    assert smaller_text.of_alternatives(found)[1:] == [
        'But "narrower" loses more than the allowed drop of 2.0 points from the parent.',
        'The network to take is "pruned": alternatives/pruned-seed0/model.keras.',
        DECIDED,
    ]


def test_it_is_said_if_each_network_loses_too_much():
    network = compressed(from_parent=estimate(-2.5, -3.0, -2.0))
    level = [
        rival(kind, -0.2, -0.8, 0.4, macs=macs)
        for kind, macs in (("pruned", 500), ("narrow", 550))
    ]
    level = [dataclasses.replace(one, from_parent=estimate(-2.7, -3.2, -2.2)) for one in level]
    allowed = "more than the allowed drop of 2.0 points from the parent."
    assert of_alternatives(level[0], network=network)[1:] == [
        f"Both lose {allowed}",
        'If that is acceptable, take "pruned": alternatives/pruned-seed0/model.keras.',
        f"{FEWEST}.",
        DECIDED,
    ]
    assert of_alternatives(*level, network=network)[1] == f"All of them lose {allowed}"
    beats = rival("pruned", 1.0, 0.2, 1.8, from_parent=estimate(-2.1, -2.9, -1.3))
    assert of_alternatives(beats, network=network)[1] == f"It loses {allowed}"


def test_as_many_trainings_are_not_said_to_be_fewer():
    network = compressed(runs=1)
    said = of_alternatives(rival("pruned", 0.2, -0.4, 0.8, macs=595), network=network)
    assert said[1:] == [
        'The network to take is "pruned": alternatives/pruned-seed0/model.keras.',
        f"{FEWEST}, give or take 1 % of the parent's.",
        HIGHEST,
        DECIDED,
    ]


def test_the_compressed_network_will_do_if_it_takes_the_fewest_macs():
    said = of_alternatives(rival("pruned", -0.2, -0.8, 0.4, macs=700))
    assert said[1:] == [
        "The network to take is the compressed network: compressed/model.keras.",
        f"{FEWEST}.",
        DECIDED,
    ]


def test_the_compressed_network_may_be_the_best():
    pruned = rival("pruned", -0.6, -1.1, -0.1)
    assert of_alternatives(pruned) == [
        'The compressed network is better than its alternative, "pruned", which differs from '
        "it by -0.6 points [-1.1, -0.1]."
    ]
    assert of_alternatives(rival("scratch", -3.0, -4.0, -2.0), pruned) == [
        "The compressed network is better than each of its 2 alternatives; the closest, "
        '"pruned", differs from it by -0.6 points [-1.1, -0.1].'
    ]


def test_what_has_no_interval_is_not_judged():
    assert of_alternatives(rival("narrow", 9.0, 8.0, 10.0, from_compressed=None)) == [
        'No interval compares "narrower" with the compressed network.'
    ]


def test_what_is_better_but_saves_less_is_no_defeat():
    dear = rival("left_out", 1.2, 0.3, 2.1, macs=800)
    more = (
        '"blocks left out" (+1.2 points [+0.3, +2.1]) is more accurate than the compressed '
        "network, but saves only 20.0 % of the multiply-accumulates."
    )
    assert of_alternatives(dear) == [more]
    said = of_alternatives(rival("pruned", -0.6, -1.1, -0.1), dear)
    best = (
        'better than one of its 2 alternatives, "pruned", which differs from it by -0.6 points '
        "[-1.1, -0.1]"
    )
    assert said == [f"The compressed network is {best}.", more]
    said = of_alternatives(
        rival("pruned", -0.6, -1.1, -0.1), rival("scratch", -3.0, -4.0, -2.0), dear
    )
    assert said[0].startswith("The compressed network is better than 2 of its 3 alternatives;")


def test_arithmetic_that_saves_no_time_is_said():
    latencies = (
        Latency("parent", "keras", 64, 1, 0.5, 0.01),
        Latency("smaller", "keras", 64, 1, 0.5, 0.01),
    )
    assert sentences(latencies=latencies)[-1] == (
        "The smaller model saves 40.0 % of the multiply-accumulates, but no time at batch 64 "
        "with 1 thread (Keras: unchanged)."
    )


def test_the_terminal_shows_each_alternative_above_the_sentences():
    found = smaller(
        rival("pruned", -0.6, -1.1, -0.1, macs=700, parameters=500),
        refused={"blocks left out": "block2 changes the shape"},
        failed={"narrow-seed0": "loss is no longer finite"},
    )
    assert smaller_text.describe(found).splitlines() == [
        "alternatives trained for as many epochs; differences are from the compressed network:",
        "  pruned: accuracy 88.3 %, -0.6 points [-1.1, -0.1]; saves 30.0 % of the "
        "multiply-accumulates and needs 25.0 % more parameters; 3 seeds",
        "  blocks left out: not possible: block2 changes the shape",
        "  narrow-seed0 failed: loss is no longer finite",
        *smaller_text.of_network(found),
        *smaller_text.of_alternatives(found),
    ]
    assert smaller_text.describe(smaller()).splitlines() == sentences()
