"""The networks, and the checkpoint that holds one."""
