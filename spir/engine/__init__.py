"""How a decision is made: evaluation, formula, residual, explanation."""
