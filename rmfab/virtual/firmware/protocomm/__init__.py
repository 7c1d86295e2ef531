"""The provisioning protocol as firmware speaks it, written apart from any client: wire, security, endpoints."""
