"""What a check found -> the facts of its page."""

from fine_tuning.report import DataFacts, data_account, masked_of, parity_of
from fine_tuning.values.data import CheckedData
from fine_tuning.values.tokens import TokenLook


def data_facts(
    data: CheckedData, look: TokenLook | None = None, *, rejected: str = "", report: str = ""
) -> DataFacts:
    """The facts for `report.write_data_report`; `rejected` and `report` are the files to name.

    `look` is the worker's look at the tokens, if a model was named.
    """
    names = [file.path for file in data.files]
    title = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return DataFacts(
        title=title or "No file",
        template=(look.template.name or "") if look else "",
        parity=parity_of(look) if look else None,
        masked=masked_of(look) if look else (),
        data=data_account(data, look, rejected=rejected, report=report),
    )
