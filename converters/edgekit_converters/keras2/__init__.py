"""Keras 2 (tf_keras) beside Keras 3: reading its files, and the way to TFMOT, which knows no other.

Nothing outside this package and the cascades knows tf_keras.
"""
