"""Search: the best classifier that the time buys, with an account of the choice."""
