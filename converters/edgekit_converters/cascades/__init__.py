"""Pruning, clustering and quantisation-aware training with TFMOT, alone and one behind another.

Only this package knows TFMOT.
"""
