"""What becomes of a picture: decoded, prepared, augmented, viewed."""
