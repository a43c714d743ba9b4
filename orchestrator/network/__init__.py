"""Ports, listening sockets, and the probe that asks a ComfyUI whether it is ready."""
