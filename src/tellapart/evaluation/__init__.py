"""From predictions to numbers, figures and sentences.

``Predictions`` come from one pass and are keyed by the image's path; everything else here
is a pure function of them: :mod:`metrics` (every number with its 95 % interval),
:mod:`metric_table` (which there are, and how each is shown),
:mod:`calibration` (temperature, thresholds, coverage, "unknown"), :mod:`plots` (arrays in,
matplotlib figure out) and :mod:`figure_readings` (what each shows, in a sentence).
"""
