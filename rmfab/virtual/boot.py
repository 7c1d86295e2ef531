from rmfab.virtual.script import *


def download_banner(model, reason):
    yield "waiting for download\r\n"


def boot(spec, flash, reason):
    yield "boot\r\n"
