"""From the paths that a user gives to the files that are read.

for source in find_sources(paths, hub=HubChoice()):
    source.path, source.kind, source.split, source.notes
"""

from fine_tuning.dataset.sources.find import find_sources
from fine_tuning.dataset.sources.source import HubChoice, Source

__all__ = ["HubChoice", "Source", "find_sources"]
