"""LCRM, the layer-wise complexity reduction method (Hussain et al., IEEE Access 2023)."""
