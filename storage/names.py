"""File names in Hangul, which has two forms in Unicode: whole syllables (NFC), and their letters (NFD).

macOS writes the letters, keyboards the syllables. macOS takes the one for the other; on Linux they are two names.
"""

from __future__ import annotations

import unicodedata
from pathlib import Path


def on_disk(path: Path) -> Path:
    """The path that exists under the same name in either form, as far as it does; the rest as it is."""
    if path.exists() or str(path).isascii() or path.parent == path:
        return path
    folder = on_disk(path.parent)
    wanted = unicodedata.normalize("NFC", path.name)
    try:
        same = [name for name in folder.iterdir() if unicodedata.normalize("NFC", name.name) == wanted]
    except OSError:  # there is no such folder, or it cannot be read
        return path
    return same[0] if same else folder / path.name
