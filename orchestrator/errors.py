"""What can go wrong here and be put right by somebody: each error says what to do next."""


class OrchestratorError(Exception):
    """Base of every expected error of this package. `hint` tells the next step."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message
