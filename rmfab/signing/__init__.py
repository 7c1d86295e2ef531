"""Signing: keys by URI, passphrases, DSSE envelopes, trust files and the judgement of signatures.

It knows nothing of releases and may import only `product` and the files at the top of the package. Start with
`trust.py`, whom a station trusts, then `judge_signatures.py`, which decides.
"""
