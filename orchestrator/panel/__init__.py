"""What runs inside ComfyUI: routes for its page, and the way to an orchestrator. Copied into a ComfyUI, never imported there."""
