"""What ComfyUI imports as this custom node: it adds no nodes, only the routes behind the page, and the page's button.

`install-panel` copies this file as the `__init__.py` of the folder.
"""

from .loading import load

NODE_CLASS_MAPPINGS: dict[str, type] = {}
NODE_DISPLAY_NAME_MAPPINGS: dict[str, str] = {}

if load():
    WEB_DIRECTORY = "web"
