"""From predictions to numbers, figures and sentences.

``Predictions`` come from one pass and are keyed by the image's path; everything else here
is a pure function of them: :mod:`metrics` (every number with its 95 % interval),
:mod:`calibration` (temperature, thresholds, coverage, "unknown"), :mod:`plots` (arrays in,
matplotlib figure out) and :mod:`findings` (what the numbers say, in sentences).
"""
