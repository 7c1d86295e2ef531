"""Registration in the clouds: the client against virtual ones, and the virtual ones against what is published."""
