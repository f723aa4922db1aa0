"""Settings that several commands take."""

from dataclasses import fields

from fine_tuning.cli.settings.words.program import option
from fine_tuning.values.spec import DataSpec
from fine_tuning.values.tables.combining import COMBINATIONS, DENSITY

FILES = (
    option("config", "path", "YAML file of settings, flat or nested", "FILE", "files"),
    option("preset", "text", "settings from configs/NAME.yaml", "NAME", "files"),
)
COMBINING = (
    option(
        "combine",
        "text",
        "make one adapter of several, by PEFT's way of this name",
        "WAY",
        choices=tuple(COMBINATIONS),
    ),
    option("weights", "list", "of the adapters (default: all alike, 1 in all)", "W"),
    option(
        "density",
        "float",
        f"share of the numbers that ties, dare and magnitude_prune keep (default: {DENSITY:g})",
        "SHARE",
    ),
    option(
        "svd_rank", "int", "rank of what an svd leaves (default: the largest of the adapters')", "N"
    ),
)
DATA = tuple(item.name for item in fields(DataSpec))
ANSWERED = tuple(name for name in DATA if name != "allow_unanswered")  # a prompt alone is no row
