"""What policies must pass before they come into force, beyond being readable. Called by `activation`."""
