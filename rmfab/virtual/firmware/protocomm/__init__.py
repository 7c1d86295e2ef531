"""The device side of the provisioning protocol, independent of any client: wire format, security, endpoints."""
