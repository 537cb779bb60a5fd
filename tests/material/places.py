"""Where things lie, whatever folder a test is in."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The repository."""
MATERIAL = ROOT / "tests" / "material"
"""What several tests use; programs that tests start lie here too."""
SCRIPTS = ROOT / "scripts"
SHARED = ROOT.parent / "shared"
"""Data beside the repository; tests that need it are skipped where it is not."""
