"""The LCRM paper's tables and figures beside this kit's (docs/lcrm-paper.md)."""
