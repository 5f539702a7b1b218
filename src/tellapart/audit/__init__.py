"""What is in a set of images, and what is wrong with it."""
