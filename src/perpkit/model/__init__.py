"""What things are: values without behaviour that would need a port."""
