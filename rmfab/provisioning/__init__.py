"""The client side of protocomm provisioning: what an owner's phone says to a new unit, said by the line."""
