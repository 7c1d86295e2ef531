"""rmfab: the manufacturing line for ESP RainMaker devices."""
