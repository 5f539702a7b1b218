"""Hyper-parameters of one recipe, searched by Optuna on the validation part."""
