"""What the facts mean: the state that a journal folds to, and what is made of it."""
