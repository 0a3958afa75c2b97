"""The floor: the same statements written by hand, with nothing around them."""
