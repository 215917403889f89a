"""The checks of the Policy Consistency Validator: one function each, its docstring its manual page."""
