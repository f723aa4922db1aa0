"""Numbers as people read them, the same on the terminal and on the page."""

import math


def counted(number: int, noun: str, plural: str = "") -> str:
    """`1 row`, `1,234 rows`; `plural` where it is not the noun with an s (`row is`, `rows are`)."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def duration_text(seconds: float) -> str:
    """`0:05`, `12:31`, `1:02:03` (h:mm:ss)."""
    whole = round(seconds)
    hours, minutes = whole // 3600, whole % 3600 // 60
    if hours:
        return f"{hours}:{minutes:02d}:{whole % 60:02d}"
    return f"{minutes}:{whole % 60:02d}"


def bytes_text(size: float) -> str:
    """`512 B`, `1.2 GB`, by powers of 1000 as disks are sold and shown."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def loss_text(loss: float) -> str:
    """Four places for usual losses, `nan` and `inf` as they are."""
    if not math.isfinite(loss):
        return str(loss)
    return f"{loss:.4f}" if abs(loss) < 100 else f"{loss:.4g}"


def percent_text(share: float) -> str:
    """`97.5%`, `100%`; 0% and 100% only if it is none or all."""
    percent = round(share * 100, 1)
    if percent == 0 and share > 0:
        return "<0.1%"
    if percent == 100 and share < 1:
        return ">99.9%"
    return f"{percent:g}%"


def short_number(number: float) -> str:
    """`1,234`, `123k`, `4.5M`."""
    if not math.isfinite(number):
        return str(number)
    if abs(number) < 100_000:
        return f"{number:,.0f}"
    return f"{number / 1e3:.0f}k" if abs(number) < 1_000_000 else f"{number / 1e6:.1f}M"
