"""A ComfyUI that starts in half a second and can be told to misbehave.

Bare on purpose: the package is copied beside `main.py` and imported there.
"""
