"""What a check found -> the facts of its page."""

from fine_tuning.report import (
    DataAccount,
    DataFacts,
    FileRows,
    lengths_of,
    masked_of,
    parity_of,
)
from fine_tuning.run_folder import to_json
from fine_tuning.values.data import CheckedData, FileAccount
from fine_tuning.values.tokens import TokenLook


def data_facts(
    data: CheckedData,
    look: TokenLook | None = None,
    *,
    command: str = "",
    created: str = "",
    rejected: str = "",
    report: str = "",
) -> DataFacts:
    """The facts for `report.write_data_report`; `rejected` and `report` are the files to name.

    `look` is the worker's look at the tokens, if a model was named.
    """
    tokens = {} if look is None else to_json(look)  # as the report finds it in a run.json
    names = [file.path for file in data.files]
    title = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return DataFacts(
        title=title or "No file",
        command=command,
        created=created,
        template="" if look is None else look.template.name or "",
        parity=parity_of(tokens),
        masked=masked_of(tokens),
        data=DataAccount(
            format=data.format,
            evidence=data.files[0].evidence if len(data.files) == 1 else "",
            files=tuple(_file(file) for file in data.files),
            rows_read=data.rows_read,
            rows_kept=data.rows_kept,
            rows_dropped=data.rows_dropped,
            problems=data.problems,
            findings=data.findings,
            lengths=lengths_of(tokens),
            rejected_path=rejected,
            report_path=report,
        ),
    )


def _file(file: FileAccount) -> FileRows:
    return FileRows(
        path=file.path,
        read=file.rows_read,
        kept=file.rows_kept,
        dropped=file.rows_dropped,
        format=file.format if file.split == "train" else f"{file.format} ({file.split})",
        encoding=file.encoding,
        evidence=file.evidence,
    )
