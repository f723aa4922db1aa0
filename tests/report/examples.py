"""Facts of runs for the tests of the page: a whole one, and pieces of it."""

import math
from dataclasses import replace
from pathlib import Path

from fine_tuning.ledger import Doubtful, Findings, RowLoss
from fine_tuning.report.compare import Change, Comparison, Difference, ScoreBeside
from fine_tuning.report.facts.page import (
    Artefact,
    CurvePoint,
    DataAccount,
    DataFacts,
    FileRows,
    Lengths,
    Parity,
    RunFacts,
    Sample,
    TokenDifference,
)
from fine_tuning.values.answers.scores import Score
from fine_tuning.values.results import Failure
from fine_tuning.values.shown import Choice, MaskedRow, ProblemGroup, Span


def curve(steps: int, every: int = 1) -> tuple[CurvePoint, ...]:
    """A loss that falls with ripples, and an evaluation at each tenth of the way."""
    return tuple(
        CurvePoint(
            step=step,
            loss=3.2 * math.exp(-4 * step / steps) + 0.15 + 0.12 * math.sin(step * 1.7),
            learning_rate=2e-4 * 0.5 * (1 + math.cos(math.pi * step / steps)),
            grad_norm=1.5 + math.sin(step / 3) * 0.8,
            eval_loss=3.1 * math.exp(-4 * step / steps) + 0.3
            if step % max(1, steps // 10) == 0
            else None,
        )
        for step in range(1, steps + 1, every)
    )


def lengths() -> Lengths:
    """A long-tailed distribution whose last rows are over the cutoff."""
    bins = tuple(
        (i * 32, (i + 1) * 32, int(900 * math.exp(-((i - 5) ** 2) / 18))) for i in range(30)
    )
    tail = tuple((start, end, rows + 3) for start, end, rows in bins)
    return Lengths(
        bins=tail,
        percentiles={"p50": 176, "p90": 300, "p99": 620, "max": 951},
        cutoff=768,
        over_cutoff=18,
        cutoff_costs={256: 1630, 512: 62, 1024: 0},
    )


def account() -> DataAccount:
    """Two files, one of them with bad rows, one warning."""
    return DataAccount(
        format="alpaca",
        evidence="all 9,870 rows have `instruction` and `output`",
        files=(
            FileRows(
                path="data/train.jsonl",
                format="alpaca",
                encoding="utf-8",
                read=9000,
                kept=8894,
                dropped=106,
            ),
            FileRows(
                path="data/中文问答.csv",
                format="alpaca",
                encoding="gb18030",
                read=1000,
                kept=976,
                dropped=24,
            ),
        ),
        rows_read=10000,
        rows_kept=9870,
        rows_dropped=130,
        problems=(
            ProblemGroup(
                "role_renamed",
                311,
                "the role `bot` was read as `assistant`",
                "data/train.jsonl:3",
                "Nothing to do.",
                "warning",
            ),
            ProblemGroup(
                "blank_answer",
                24,
                "the answer is blank",
                "data/中文问答.csv:17",
                "Write the answer or remove the row: a blank answer teaches the model silence.",
            ),
            ProblemGroup(
                "missing_answer",
                94,
                "`output` is missing",
                "data/train.jsonl:57",
                "Add `output` to the row, or name the column that holds it with --columns.",
            ),
        ),
        findings={
            "exact_duplicates": 42,
            "near_duplicates": {"pairs": 17, "checked": True},
            "languages": {"zh": 6021, "en": 3700, "other": 149},
            "likely_secrets": ["data/train.jsonl:881 an e-mail address"],
        },
        split={"training": 8883, "validation": 987},
        split_dropped={"overlong": 0},
        overlong={"cut": 16, "dropped": 2},
        lengths=lengths(),
        engine_expected=8883,
        engine_counted=8883,
        rejected_path="runs/qwen3-alpaca/dataset/rejected.jsonl",
        report_path="runs/qwen3-alpaca/dataset/report.json",
    )


def parity() -> Parity:
    """A template that leaves out the system prompt."""
    rest = ("<|im_start|>", "user", "\n", *("word " for _ in range(30)), "<|im_end|>", "\n")
    return Parity(
        equal=False,
        rows_compared=8,
        message="A server that uses the tokenizer's template sends a system prompt that training "
        "did not have. The trained template is shipped with the adapter.",
        differences=(
            TokenDifference(
                row="row 0 (data/train.jsonl:1)",
                trained=rest,
                served=("<|im_start|>", "system", "\n", "You are Qwen", "<|im_end|>", "\n", *rest),
            ),
        ),
    )


def masked() -> tuple[MaskedRow, ...]:
    """One short chat row."""
    return (
        MaskedRow(
            "row 0 (data/train.jsonl:1), 24 tokens",
            (
                Span(
                    "<|im_start|>user\n中国的首都是哪里？<|im_end|>\n<|im_start|>assistant\n", False
                ),
                Span("中国的首都是北京。<|im_end|>", True),
                Span("\n", False),
            ),
        ),
    )


def samples(count: int) -> tuple[Sample, ...]:
    """Samples of which every seventh is still wrong."""
    return tuple(
        Sample(
            prompt=f"Question {i}: what is the code of the city 北京 in district {i}?",
            expected=f"CODE-{i:03d}",
            before="I am not sure, but a code is a system of words, letters or signs.\n\nThe city",
            after=f"CODE-{i:03d}" if i % 7 else "CODE-999",
            correct_before=False,
            correct_after=bool(i % 7),
        )
        for i in range(1, count + 1)
    )


def whole_run() -> RunFacts:
    """A finished run with something in every part of the page."""
    return RunFacts(
        title="qwen3-alpaca",
        subject=("Qwen3-0.6B", "train.jsonl, 中文问答.csv"),
        command="python llama_factory_fine_tuning.py --model_name_or_path Qwen/Qwen3-0.6B "
        "--dataset_path data/train.jsonl data/中文问答.csv --output_dir runs/qwen3-alpaca",
        created="2026-03-14 09:26 UTC",
        durations={"read": 1.2, "tokens": 4.0, "score_before": 31.0, "train": 431.0, "merge": 9.4},
        settings=(
            Choice("model_name_or_path", "Qwen/Qwen3-0.6B", "", "you"),
            Choice(
                "template", "qwen3_nothink", "renders 8 of 8 rows as the tokenizer does", "chosen"
            ),
            Choice("cutoff_len", "768", "the longest of 9,870 rows has 951 tokens", "chosen"),
            Choice("lora_rank", "16", "", "preset"),
            Choice("seed", "42"),
        ),
        versions={"llamafactory": "0.9.5", "transformers": "5.5.4", "torch": "2.11.0"},
        device="CPU, 2 cores",
        warnings=("311 rows: the role `bot` was read as `assistant`.",),
        base_model="Qwen/Qwen3-0.6B",
        method="LoRA, rank 16",
        template="qwen3_nothink",
        parity=parity(),
        data=account(),
        curves=curve(330),
        scores=(
            Score(
                name="Exact match",
                metric="exact_match",
                before=0.025,
                after=0.975,
                n=40,
                kind="share",
            ),
            Score(name="Loss", before=3.4127, after=0.3083, n=987, better="lower"),
            Score(name="Perplexity", before=30.35, after=1.361, n=987, better="lower"),
            Score(
                name="BLEU",
                before=5.685,
                after=99.3,
                n=40,
                change=(90.9, 96.2),
                signature="nrefs:1|case:mixed|eff:no|tok:zh|smooth:exp|version:2.6.0",
            ),
        ),
        samples=samples(40),
        row_losses=row_losses(),
        masked=masked(),
        adapter_path=Path("runs/qwen3-alpaca"),
        merged_path=Path("merged"),
        artefacts=(
            Artefact(path="adapter_model.safetensors", size=20_480_512, what="the adapter"),
            Artefact(path="logs/engine.log", size=81_234, what="the engine's whole output"),
        ),
        train_yaml=Path("runs/qwen3-alpaca/train.yaml"),
    )


def data_check() -> DataFacts:
    """What `validate` with a tokenizer shows."""
    return DataFacts(
        data=account(),
        title="data/train.jsonl and data/中文问答.csv",
        template="qwen3_nothink",
        parity=parity(),
        masked=masked(),
    )


def row_losses(text: str = "data/中文问答.csv") -> Findings:
    """Rows that stand out, of every kind."""
    row = RowLoss(
        part="validation",
        row=3,
        kept=7,
        file=text,
        line=8,
        tokens=31,
        before=3.25,
        after=3.5,
        question=text * 9,
        answer=text,
    )
    return Findings(
        measured=9870,
        unmeasured=3,
        not_finite=(Doubtful(why="not finite", row=replace(row, after=None)),),
        never_learned=tuple(Doubtful(why="never learned", row=row) for _ in range(12)),
        made_worse=(Doubtful(why="made worse", row=row),),
        learned_least=(Doubtful(why="learned least", row=replace(row, part="train", file="")),),
    )


def comparison() -> Comparison:
    """Three runs with long names and values."""
    names = tuple(f"experiments/qwen3-alpaca-{'long' * 12}-{i}" for i in range(3))
    long = Difference(name="dataset_path", values=("/data/" + "x" * 300, None, "b"))
    change = Change(verdict="better", says="better: 8 right only here, 0 only in the first")
    score = ScoreBeside(
        name="Exact match",
        values=(0.1, 0.9, None),
        texts=("10%", "90%", "not measured"),
        rows=(40, 40, 0),
        changes=(None, change, Change(verdict="incomparable", says="not scored in both")),
    )
    return Comparison(
        names=names,
        settings=(long,),
        data=(long, Difference(name="rows", values=("1", "1", "1"))),
        same_data=False,
        versions=(),
        scores=(score,),
    )


ATTACK = """</pre></script><script>alert(1)</script><img src=x onerror="alert(2)">'"&{{7*7}}{%"""


def hostile_run() -> RunFacts:
    """The attack in every text of the page."""
    data = DataAccount(
        format=ATTACK,
        evidence=ATTACK,
        files=(
            FileRows(
                path=ATTACK,
                read=1,
                kept=0,
                dropped=1,
                format=ATTACK,
                encoding=ATTACK,
                evidence=ATTACK,
            ),
        ),
        rows_read=1,
        rows_dropped=1,
        problems=(ProblemGroup(ATTACK, 1, ATTACK, ATTACK, ATTACK),),
        findings={ATTACK: {ATTACK: ATTACK}, "list": [ATTACK], "one": ATTACK},
        split={ATTACK: 1},
        split_dropped={ATTACK: 1},
        overlong={ATTACK: 1},
        rejected_path=ATTACK,
        report_path=ATTACK,
        notes=(ATTACK,),
    )
    return RunFacts(
        title=ATTACK,
        status="failed",
        failure=Failure(what=ATTACK, why=ATTACK, fix=ATTACK),
        log=ATTACK,
        command=ATTACK,
        created=ATTACK,
        durations={ATTACK: 1.0},
        settings=(Choice(ATTACK, ATTACK, ATTACK, "you"), Choice(ATTACK, ATTACK, ATTACK)),
        versions={ATTACK: ATTACK},
        device=ATTACK,
        warnings=(ATTACK,),
        base_model=ATTACK,
        method=ATTACK,
        template=ATTACK,
        parity=Parity(
            equal=False,
            message=ATTACK,
            differences=(TokenDifference(row=ATTACK, trained=(ATTACK,), served=("b",)),),
        ),
        data=data,
        curves=curve(20),
        scores=(Score(name=ATTACK, before=0.1, after=0.9, n=40, kind="share"),),
        samples=(Sample(prompt=ATTACK, expected=ATTACK, before=ATTACK, after=ATTACK),),
        row_losses=row_losses(ATTACK),
        masked=(MaskedRow(ATTACK, (Span(ATTACK, True), Span(ATTACK, False))),),
        adapter_path=Path(ATTACK),
        merged_path=Path(ATTACK),
        artefacts=(Artefact(path=ATTACK, what=ATTACK, size=1),),
        train_yaml=Path(ATTACK),
    )
