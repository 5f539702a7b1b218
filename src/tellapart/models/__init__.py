"""Networks: the small ones, the pretrained ones, and what runs them forward fast."""
