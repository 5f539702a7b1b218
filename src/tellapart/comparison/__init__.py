"""Several runs on the same images: which is better, by more than chance, and what differs."""
