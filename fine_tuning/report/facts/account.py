"""The data of a run or of a check, from its values to the facts of a page."""

from pathlib import Path

from fine_tuning.disk.paths import shown
from fine_tuning.report.facts.page import DataAccount, FileRows, Lengths, Parity, TokenDifference
from fine_tuning.values.data import CheckedData, FileAccount, SplitData
from fine_tuning.values.results import Trained
from fine_tuning.values.shown import MaskedRow, Span
from fine_tuning.values.tokens import TemplateLook, TokenLook


def data_account(
    data: CheckedData,
    look: TokenLook | None = None,
    parts: SplitData | None = None,
    trained: Trained | None = None,
    *,
    rejected: str = "",
    report: str = "",
) -> DataAccount:
    """The account from reading to what the engine encoded, as far as it has come.

    `rejected` and `report` are the files to name.
    """
    expected = trained.expected if trained else None
    return DataAccount(
        format=data.format,
        evidence=data.files[0].evidence if len(data.files) == 1 else "",
        files=tuple(_file(file) for file in data.files),
        rows_read=data.rows_read,
        rows_kept=data.rows_kept,
        rows_dropped=data.rows_dropped,
        problems=(*data.problems, *(parts.problems if parts else ())),
        findings=data.findings,
        split={"training": parts.train_rows, "validation": parts.val_rows} if parts else {},
        split_dropped=parts.dropped if parts else {},
        overlong=parts.cut if parts else {},
        lengths=lengths_of(look) if look else None,
        engine_expected=expected.count if expected else None,
        engine_counted=trained.encoded if trained else None,
        engine_unit=expected.unit if expected else "rows",
        rejected_path=rejected if data.rows_dropped else "",
        report_path=report,
        notes=parts.notes if parts else (),
    )


def _file(file: FileAccount) -> FileRows:
    return FileRows(
        path=shown(Path(file.path)),
        read=file.rows_read,
        kept=file.rows_kept,
        dropped=file.rows_dropped,
        format=file.format if file.split == "train" else f"{file.format} ({file.split})",
        encoding=file.encoding,
        evidence=file.evidence,
    )


def lengths_of(look: TokenLook) -> Lengths:
    """Token lengths of all rows."""
    starts = (0, *(end for end, _ in look.histogram))
    return Lengths(
        bins=tuple(
            (start, end, count) for start, (end, count) in zip(starts, look.histogram, strict=False)
        ),
        percentiles=look.percentiles,
        cutoff=look.cutoff,
        over_cutoff=len(look.overlong),
        cutoff_costs=look.over,
    )


def parity_of(look: TokenLook) -> Parity | None:
    """How the trained template compares with the model's own; None if it has none."""
    template, difference = look.template, look.template.difference
    if template.parity == "none":
        return None
    differences: tuple[TokenDifference, ...] = ()
    if difference is not None and difference.trained_tokens and difference.served_tokens:
        differences = (
            TokenDifference(
                row=f"first difference at token {difference.at}",
                trained=difference.trained_tokens,
                served=difference.served_tokens,
            ),
        )
    return Parity(
        equal=template.parity == "equal",
        rows_compared=look.compared,
        message=_with_shipped(template),
        differences=differences,
    )


def _with_shipped(template: TemplateLook) -> str:
    """Why the template was taken, and which one goes out if it is not the model's own."""
    if template.shipped is None:
        return template.reason
    if template.shipped:
        return f"{template.reason}. The trained template is shipped."
    return (
        f"{template.reason}. It cannot be shipped as a chat template: {template.unwritten}. The "
        "model's own is shipped, so a server sends other prompts than were trained."
    )


def masked_of(look: TokenLook) -> tuple[MaskedRow, ...]:
    """The rows that the worker encoded, with trained and masked text told apart."""
    return tuple(
        MaskedRow(
            title=f"row {view.row}: {view.trained} of {view.tokens} tokens are trained",
            spans=tuple(Span(text, trained) for text, trained in view.spans),
        )
        for view in look.views
    )
