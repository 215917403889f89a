"""What values can do: comparing, calculating, the functions of conditions, the texts inside them."""
