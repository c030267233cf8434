"""How developers get in: tunnels to ports of this device, and what sshd needs to know of the hub's SSH authority."""
