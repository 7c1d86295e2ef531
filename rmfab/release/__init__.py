"""Releases: the common firmware of a product's boards, and how it is read, checked, bundled and laid out in flash.

It may import `product`, `signing` and the files at the top of rmfab. Start with `release.py`, the value. `opening.py`
opens a release from any path, `preflight.py` rejects what would brick a board, `plan.py` computes the flash layout.
"""
