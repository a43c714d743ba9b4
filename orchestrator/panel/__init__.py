"""What runs inside ComfyUI's own process: the standard library and aiohttp, relative imports, nothing of ours outside."""
