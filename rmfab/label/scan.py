"""The test code for scanners."""

from __future__ import annotations

TEST_CODE = "RMFAB-TEST " + "".join(map(chr, range(0x21, 0x7F))) + ".END"
"""A code with every character that a label's code may have. Scanned, it proves the scanner and the keyboard layout."""
