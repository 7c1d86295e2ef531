"""esptool behind one door: what a board is, and reading and writing its flash.

It may import `release`, `product` and the rest of `board`; nothing outside this folder imports esptool. Start with
`loader.py`, the conversation; `door.py` tames esptool and `facts.py` judges whether a board may be written.
"""
