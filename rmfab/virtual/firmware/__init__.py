"""What runs on a virtual board: ROM boot, bootloader and app, played from the bytes in its flash.

It may import `chip`, the files at the top of `virtual`, and the formats (`nvs`, `release`). Start with `rom_boot.py`
and follow the boot: `bootloader.py`, `app_start.py`, `rainmaker.py`, `running.py`.
"""
