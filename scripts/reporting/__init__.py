"""Functions shared by the scripts that make tables and figures, and by the studies."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the repository, for storage/ and training/
