"""One module a verb: the stages put together. The tree is the list of what tellapart does."""
