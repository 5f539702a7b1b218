"""Run a network forward, as fast as this machine can."""
