"""Where a line of text may be broken: between words, and between Chinese letters, but not before their punctuation."""

from __future__ import annotations

_WIDE = r"\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef"
_OPENING = r"\uff08\u201c\u300a"
_CLOSING = r"\uff0c\u3002\uff1b\uff1a\uff01\uff1f\u3001\uff09\u201d\u300b"
"""Chinese punctuation that must not end, and must not start a line."""
LATIN = rf"[^\s{_WIDE}]*[{_CLOSING}]*"
"""The pattern of what goes on without a blank or a Chinese letter."""
WORD = rf"[{_OPENING}]*(?:[{_WIDE}]|[^\s{_WIDE}{_OPENING}]+)[{_CLOSING}]*"
"""The pattern of what is not broken: a word, or a Chinese letter, with its punctuation. All is matched but blanks."""
