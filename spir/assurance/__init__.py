"""How one knows it is right: policy tests and their coverage."""
