"""Who lets money go: the gate before the HSM, its software stand-in, and signers who believe nobody."""
