"""What each command of `spir` does. Loaded one at a time: `spir --version` must not import the world."""
