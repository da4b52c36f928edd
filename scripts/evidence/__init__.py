"""What a security reviewer reads, made from the synthesized assembly alone: the same assembly gives the same bytes."""
