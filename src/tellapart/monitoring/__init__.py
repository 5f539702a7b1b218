"""Is what a classifier is asked still like what it was trained on?"""
