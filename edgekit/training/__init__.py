"""Training one model for its task, and what a step of training costs."""
