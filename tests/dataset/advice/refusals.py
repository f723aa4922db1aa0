"""What ends a check of data before any row is judged, and what its advice makes of it."""

import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fine_tuning.cli.main import dispatch
from fine_tuning.cli.settings.commands import COMMANDS
from fine_tuning.cli.settings.resolve import resolve
from fine_tuning.dataset import check as dataset
from fine_tuning.dataset.insight.rows import ORIGIN, Origins
from fine_tuning.dataset.prepare.fit import fit_rows
from fine_tuning.dataset.prepare.register import refuse_patterns, register
from fine_tuning.dataset.prepare.split import split
from fine_tuning.dataset.sources import HubChoice
from fine_tuning.dataset.sources.hub_layout import choose_files
from tests.dataset.advice.following import LINK, Files, alpaca
from tests.dataset.advice.rows import TEXTS

ROWS = [alpaca(n) for n in range(4)]
HELD_OUT = [alpaca(1, instruction="Is it red?", output="It is red.")]


def validate(words: str) -> None:
    """`validate WORDS`, which must find every row usable."""
    _, _, outcome = dispatch(["validate", *shlex.split(words)])
    assert outcome.code == 0


def train_on(words: str, *, then: Callable[..., Any] | None = None) -> None:
    """The check of `run`, up to the split."""
    spec = resolve(COMMANDS["validate"], shlex.split(words)).spec
    out = Path("../out")
    data = dataset.account(spec.data, out_dir=out, validation_paths=spec.val_dataset_path)
    dataset.refuse_unusable(data, spec.data)
    if then:
        then(data, out, spec)


def splits(words: str, **settings: Any) -> None:
    """The check and the split of `run`."""

    def then(data: Any, out: Path, spec: Any) -> None:
        chosen = {"val_size": 0, "seed": 1, "dedup": False, "mix": spec.data.mix, **settings}
        split(data, out_dir=out / "split", **chosen)

    train_on(words, then=then)


def fits(words: str) -> None:
    """Rows of 100 tokens and the settings of --overlong."""
    spec = resolve(COMMANDS["run"], shlex.split(words)).spec
    settings: dict[str, Any] = {"cutoff": spec.max_seq_length, "policy": spec.overlong}
    fit_rows("chat", {0: [100]}, origins=ANYWHERE, **settings)


ANYWHERE = Origins(["d.jsonl"], np.array([(0, 1)], ORIGIN))


def chooses(words: str, *, files: tuple[str, ...], card: Mapping[str, Any]) -> None:
    """The choice among the files of a dataset of a hub."""
    spec = resolve(COMMANDS["validate"], ["--dataset_path", "me/x", *shlex.split(words)]).spec.data
    choose_files(
        "me/x", files, card, HubChoice(config=spec.dataset_config, split=spec.dataset_split)
    )


def registers(words: str) -> None:
    """The registration of prepared rows in --dataset_dir."""
    spec = resolve(COMMANDS["run"], shlex.split(words)).spec
    register(Path(spec.dataset_dir), {"mine": {"file_name": "d.jsonl"}})


def lies_in(words: str) -> None:
    spec = resolve(COMMANDS["run"], shlex.split(words)).spec
    refuse_patterns(str(Path(str(spec.output_dir)).absolute()))


@dataclass(frozen=True)
class Refused:
    """Words that are refused where some files lie, and what each part of the advice makes of them.

    A way is other words, or other files. `said` is a part of the message.
    """

    words: str
    ways: Mapping[str, str | Files]
    said: str = ""
    files: Files = field(default_factory=lambda: {"d.jsonl": ROWS})
    call: Callable[[str], None] = validate


DATA = "--dataset_path d.jsonl"
SPLITS = ("a/test.jsonl", "a/other_eval.jsonl")
CONFIGS = {"configs": [{"config_name": n, "data_files": f"{n}.jsonl"} for n in ("easy", "hard")]}
config = partial(chooses, files=("easy.jsonl", "hard.jsonl"), card=CONFIGS)
no_train = partial(chooses, files=SPLITS, card={})

REFUSED: dict[str, list[Refused]] = {
    "dataset/check.py:refuse_unusable 1": [
        Refused(
            DATA,
            {"--ignore_columns score": f"{DATA} --ignore_columns score"},
            "--ignore_columns score (train without it)",
            {"d.jsonl": [alpaca(n, score=n) for n in range(4)]},
            train_on,
        )
    ],
    "dataset/check.py:refuse_unusable 2": [
        Refused(
            DATA,
            {"write the answer as text": {"d.jsonl": ROWS}},
            "No row of the data is usable",
            {"d.jsonl": [alpaca(n, output={"a": n}) for n in range(4)]},
            train_on,
        )
    ],
    "dataset/check.py:refuse_unusable 3": [
        Refused(
            "--dataset_path a.jsonl b.jsonl",
            {"train on each kind by itself": "--dataset_path a.jsonl"},
            files={"a.jsonl": ROWS, "b.jsonl": TEXTS},
            call=train_on,
        )
    ],
    "dataset/check.py:refuse_unusable 4": [
        Refused(
            "--dataset_path train.jsonl --val_dataset_path d.jsonl",
            {"mend or add training rows": {"train.jsonl": HELD_OUT}},
            "no training row",
            {"train.jsonl": [alpaca(0, output="")], "d.jsonl": ROWS},
            train_on,
        )
    ],
    "dataset/check.py:refuse_unusable 5": [
        Refused(
            DATA,
            {"mend them": {"d.jsonl": ROWS}, "raise --max_bad_rows": f"{DATA} --max_bad_rows 0.5"},
            files={"d.jsonl": [*ROWS, alpaca(0, output="")]},
            call=train_on,
        )
    ],
    "dataset/check.py:_sources 1": [
        Refused("", {"name one with --dataset_path": DATA}, call=train_on)
    ],
    "dataset/check.py:_sources 2": [
        Refused(
            f"{DATA} --val_dataset_path d.jsonl",
            {
                "give other files to --val_dataset_path": f"{DATA} --val_dataset_path v.jsonl",
                "use --val_size": DATA,  # `run` knows --val_size
            },
            files={"d.jsonl": ROWS, "v.jsonl": HELD_OUT},
        )
    ],
    "dataset/check.py:_refuse_hub_words 1": [
        Refused(
            f"{DATA} --dataset_split train",
            {"leave it out": DATA, "name the file of that part": "--dataset_path d.jsonl"},
        )
    ],
    "dataset/recognise/by_columns.py:winner 1": [
        Refused(
            DATA,
            {
                "--dataset_format alpaca": (
                    f"{DATA} --dataset_format alpaca --ignore_columns messages"
                )
            },
            files={
                "d.jsonl": [
                    alpaca(n, messages=[{"role": "user", "content": "a"}]) for n in range(4)
                ]
            },
        )
    ],
    "dataset/sources/find.py:_refuse 1": [
        Refused(
            "--dataset_path gone.jsonl",
            {"give --dataset_path files": DATA, "a directory with data files": "--dataset_path ."},
        ),
    ],
    "dataset/sources/find.py:_expand 1": [
        Refused("--dataset_path -", {"give --dataset_path files": DATA})
    ],
    "dataset/sources/find.py:_expand 3": [
        Refused("--dataset_path e.jsonl", {"did you mean d.jsonl": DATA})
    ],
    "dataset/sources/find.py:_file 1": [
        Refused(
            "--dataset_path l.jsonl",
            {"give --dataset_path files": DATA},
            "which leads to no file",
            {"d.jsonl": ROWS, "l.jsonl": f"{LINK}gone.jsonl"},
        )
    ],
    "dataset/sources/find.py:_directory 1": [
        Refused(
            "--dataset_path pictures",
            {"a directory with data files": {"pictures/d.jsonl": ROWS}},
            "no data file in this directory; it holds a.png",
            {"pictures/a.png": b"x"},
        )
    ],
    "dataset/sources/find.py:_directory 2": [
        Refused(
            "--dataset_path links",
            {"give --dataset_path files": DATA},
            "which leads to no file",
            {"d.jsonl": ROWS, "links/l.jsonl": f"{LINK}gone.jsonl"},
        )
    ],
    "dataset/sources/find.py:_directory 3": [
        Refused(
            "--dataset_path t",
            {
                "name the files to train on": "--dataset_path t/test/d.jsonl",
                "add --ignore_splits": "--dataset_path t --ignore_splits",
            },
            files={"t/test/d.jsonl": ROWS},
        )
    ],
    "dataset/sources/hub_layout.py:choose_files 1": [
        Refused(
            "--dataset_split dev",
            {"give one of these with --dataset_split": "--dataset_split test"},
            call=no_train,
        )
    ],
    "dataset/sources/hub_layout.py:choose_files 2": [
        Refused(
            "",
            {"choose one with --dataset_split": "--dataset_split test"},
            "no train split",
            call=no_train,
        )
    ],
    "dataset/sources/hub_layout.py:_config 2": [
        Refused(
            "--dataset_config esy",
            {"give one of these with --dataset_config": "--dataset_config easy"},
            call=config,
        )
    ],
    "dataset/sources/hub_layout.py:_config 3": [
        Refused("", {"choose one with --dataset_config": "--dataset_config hard"}, call=config)
    ],
    "dataset/prepare/split.py:split 1": [
        Refused(
            f"{DATA} --mix d.jsonl=0",
            {"change --mix": f"{DATA} --mix d.jsonl=1", "give other rows": DATA},
            call=splits,
        )
    ],
    "dataset/prepare/fit.py:fit_rows 1": [
        Refused(
            "--max_seq_length 50 --overlong error",
            {
                "raise --max_seq_length (the longest row needs 100)": "--max_seq_length 100"
                " --overlong error",
                "use --overlong auto": "--max_seq_length 50 --overlong auto",
            },
            call=fits,
        )
    ],
    "dataset/prepare/register.py:refuse_patterns 1": [
        Refused(
            "--output_dir 'a[b]'",
            {"choose an --output_dir without these characters": "--output_dir ab"},
            call=lies_in,
        )
    ],
    "dataset/prepare/register.py:register 2": [
        Refused(
            "--dataset_dir d.jsonl/x",
            {"choose a --dataset_dir that you can write to": "--dataset_dir other"},
            call=registers,
        )
    ],
    **{
        f"dataset/prepare/register.py:_read_entries {number}": [
            Refused(
                "--dataset_dir data",
                {
                    "mend it": {"data/dataset_info.json": "{}"},
                    "delete it and run again": {"data/dataset_info.json": None},
                },
                files={"data/dataset_info.json": content},
                call=registers,
            )
        ]
        for number, content in ((1, "{"), (2, json.dumps([1])))
    },
    "cli/data/token_check.py:refuse_unusable_flags 1": [
        Refused(f"{DATA} --show x", {"a number of rows": f"{DATA}"}, "give a number of rows"),
        Refused("", {"--dataset_path is needed": DATA}),
    ],
    "cli/data/token_check.py:refuse_stage 1": [
        Refused(f"{DATA} --stage dpo", {"--stage sft": f"{DATA} --stage sft"}, "conversations")
    ],
    "cli/output/report_place.py:refuse_report_place 1": [
        Refused(
            f"{DATA} --report r.html", {"--report r.json writes both": f"{DATA} --report r.json"}
        )
    ],
    "cli/output/report_place.py:refuse_report_place 2": [
        Refused(
            f"{DATA} --report d.jsonl", {"give --report a new file name": f"{DATA} --report n.json"}
        )
    ],
    "cli/output/report_place.py:refuse_report_place 3": [
        Refused(
            "--dataset_path data --report data/r.json",
            {
                "put the report outside the dataset's directory": (
                    "--dataset_path data --report r.json"
                )
            },
            files={"data/d.jsonl": ROWS},
        )
    ],
}
# What has no input of a few rows: where it is met, or what it would take.
ELSEWHERE = {
    "cli/data/review.py:review 1": "tests/cli/data/test_review.py",
    "cli/data/review.py:review 2": "tests/cli/data/test_review.py",
    "cli/data/review.py:review 3": "tests/cli/data/test_review.py",
    "cli/output/report_place.py:refuse_taken 1": "`score` asks as `validate` does",
    "cli/output/report_place.py:workplace 1": "tests/cli/output/test_report_place.py",
    "cli/output/report_place.py:workplace 2": "tests/cli/output/test_report_place.py",
    "dataset/account/report.py:copy_whole 1": "a full disk: tests/disk/test_files.py",
    "dataset/account/schedule.py:_run 1": "tests/dataset/test_killed.py",
    "dataset/prepare/mix.py:_sources 1": "the flag itself is refused before",
    "dataset/prepare/mix.py:_sources 2": "a path of --mix is read as one of --dataset_path",
    "dataset/prepare/register.py:register 1": "another run holds the lock for a minute",
    "dataset/read/reading.py:__iter__ 1": "a file that goes between two looks",
    "dataset/read/reading.py:_batches 1": "unreadable_file in files.py",
    "dataset/sources/find.py:_expand 2": "a broken disk",
    "dataset/sources/find.py:_file 2": "a pipe: tests/dataset/sources/test_find.py",
    "dataset/sources/find.py:_file 3": "no permission: tests/dataset/sources/test_find.py",
    "dataset/sources/find.py:_walk 1": "more files than a test should write",
    "dataset/sources/find.py:refuse 1": "no permission: tests/dataset/sources/test_find.py",
    "dataset/sources/hub.py:_cached 1": "no network: tests/dataset/sources/test_hub.py",
    "dataset/sources/hub.py:fetch 1": "no network: tests/dataset/sources/test_hub.py",
    "dataset/sources/hub_layout.py:_config 1": "tests/dataset/sources/test_hub.py",
    "stages/preparing/check.py:do 1": "tests/test_run_rows.py",
}
WORDS: dict[str, list[Refused]] = {
    "_nothing": [Refused("--dataset_path ' '", {"give --dataset_path files": DATA})],
    "_standard_input": [
        Refused(
            "--dataset_path -",
            {"then --dataset_path rows.jsonl": "--dataset_path rows.jsonl"},
            files={"rows.jsonl": ROWS},
        )
    ],
    "_windows": [
        Refused(
            r"--dataset_path 'C:\data\d.jsonl'",
            {"give --dataset_path files": DATA},
            "under WSL it is --dataset_path /mnt/c/data/d.jsonl",
        )
    ],
    "_address": [
        Refused(
            "--dataset_path https://example.org/d.jsonl", {"then --dataset_path d.jsonl": DATA}
        ),
        Refused("--dataset_path s3://bucket/d.jsonl", {"then --dataset_path d.jsonl": DATA}),
    ],
    "_commas": [
        Refused(
            "--dataset_path d.jsonl,e.jsonl",
            {"--dataset_path d.jsonl e.jsonl": "--dataset_path d.jsonl e.jsonl"},
            files={"d.jsonl": ROWS, "e.jsonl": HELD_OUT},
        )
    ],
    "_quotes": [Refused("--dataset_path \"'d.jsonl'\"", {"--dataset_path d.jsonl": DATA})],
    "_variable": [
        Refused(
            "--dataset_path '$HERE/d.jsonl'", {"write the path itself": "--dataset_path ./d.jsonl"}
        )
    ],
    "_pattern": [Refused("--dataset_path '*.csv'", {"give --dataset_path files": DATA})],
}
