import pytest

from deep_net_triage.commands import shards
from deep_net_triage.errors import InputError
from deep_net_triage.methods import GROUPS
from deep_net_triage.study import plan
from deep_net_triage.study.identity import Trial

SLURM = {
    "SLURM_ARRAY_TASK_ID": "7",
    "SLURM_ARRAY_TASK_MIN": "1",
    "SLURM_ARRAY_TASK_STEP": "2",
    "SLURM_ARRAY_TASK_COUNT": "5",
}
KUBERNETES = {"JOB_COMPLETION_INDEX": "2"}


@pytest.mark.parametrize(
    ("text", "environment", "expected"),
    [
        (None, SLURM, None),  # a job array may be about something else
        ("0/1", {}, (0, 1)),
        ("3/4", SLURM, (3, 4)),
        ("auto", SLURM, (3, 5)),  # 1, 3, 5, 7
        ("auto", SLURM | KUBERNETES, (3, 5)),
        ("auto/5", SLURM, (3, 5)),
        ("auto/3", KUBERNETES, (2, 3)),
    ],
)
def test_a_job_learns_its_part(text, environment, expected):
    assert shards.parse(text, environment) == expected


@pytest.mark.parametrize(
    ("text", "environment", "message"),
    [
        ("4/4", {}, "job 4 of 4"),
        ("-1/4", {}, "not a part of the trials"),
        ("1", {}, "not a part of the trials"),
        ("1/0", {}, "job 1 of 0"),
        ("auto", {}, "neither SLURM_ARRAY_TASK_ID nor JOB_COMPLETION_INDEX"),
        ("auto", KUBERNETES, "the number of jobs is unknown"),
        ("auto/2", KUBERNETES, "job 2 of 2"),
        ("auto/8", SLURM, "has 5 jobs, not 8; .* --shard=i/8"),  # some of eight, run again
        ("auto", SLURM | {"SLURM_ARRAY_TASK_ID": "x"}, "neither SLURM"),
    ],
)
def test_what_is_no_part_is_refused(text, environment, message):
    with pytest.raises(InputError, match=message):
        shards.parse(text, environment)


def asked(blocks, seeds):
    return [
        Trial(method, block, seed)
        for block in blocks
        for method in GROUPS["all"]
        for seed in range(seeds)
    ]


@pytest.mark.parametrize("count", [1, 2, 3, 5, 6, 7, 40])
@pytest.mark.parametrize("seeds", [1, 3])
def test_jobs_divide_the_trials(count, seeds):
    """Each trial is one job's, and no job has many more than another."""
    every = asked("abcde", seeds)
    parts = [plan.of_shard(every, (index, count)) for index in range(count)]
    assert sorted(map(every.index, sum(parts, ()))) == list(range(len(every)))
    sizes = list(map(len, parts))
    assert max(sizes) - min(sizes) <= 1 + 5 * (len(every) // 5 % count > 0)


def test_six_jobs_have_trials_of_all_blocks_and_kinds():
    for index in range(6):
        part = plan.of_shard(asked("abcde", 1), (index, 6))
        assert [trial.block for trial in part] == list("abcde")
        assert len({trial.method for trial in part}) == 5
