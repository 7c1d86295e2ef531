"""The bench of virtual boards: ports, pseudo terminals, networks and updates around the chips that it serves.

It may import every other sub-room of `virtual` but `build`. Start with `serving.py`, which serves boards, then
`board.py`, one board, and `place.py`, which holds several.
"""
