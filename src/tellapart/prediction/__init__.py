"""Answers of a trained classifier."""
