"""Delivery of alerts and workflows from the outbox."""
