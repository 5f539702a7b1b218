"""Images and labels: found, split, decoded, checked."""
