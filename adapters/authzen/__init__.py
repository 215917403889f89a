"""The policy decision point as a service: OpenID AuthZEN 1.0 over HTTP, a Unix socket, and pipelined msgpack."""
