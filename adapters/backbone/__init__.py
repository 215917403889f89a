"""Durable storage behind one port: messages, facts, audit, outbox."""
