"""``python -m flowrules`` prints ``docs/pipeline.md``."""

from flowrules.document import document

print(document())  # noqa: T201 - the page is this command's output
