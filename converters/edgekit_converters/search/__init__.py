"""Search of substitutes and hyperparameters (LCRM paper, Appendix A), with Optuna on SQLite."""
