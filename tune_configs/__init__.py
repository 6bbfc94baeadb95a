"""One module for each experiment; each defines `SWEEP`, run by `python -m rbc_rllib.sweep <module>`."""
