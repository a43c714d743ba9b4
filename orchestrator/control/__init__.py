"""The HTTP control server: what it answers, what it refuses, and the aiohttp part in between."""
