"""A run as a folder that other programs use: the model, a script, a card, and their check."""
