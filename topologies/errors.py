"""What can go wrong with a network on this machine."""

from __future__ import annotations


class LabError(Exception):
    """The lab cannot be built or used; the text is one line that names cause and, where there is one, mend."""
