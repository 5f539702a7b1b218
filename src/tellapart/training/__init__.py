"""From images to a trained network: cached features, the probe, gradient descent."""
