"""The command `comfygit-journal`: reads a workspace's journal and says what happened, and what every file must hold."""
