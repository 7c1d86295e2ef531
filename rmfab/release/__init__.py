"""Releases: the common firmware of a product's boards, how it is read, judged, bundled and laid out in flash.

It may import `product`, `signing` and the files at the top of the package. Start with `release.py`, the value;
`opening.py` gets one from any path, `preflight.py` rejects what would brick a board, `plan.py` says what goes where.
"""
