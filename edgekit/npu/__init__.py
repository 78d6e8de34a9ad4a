"""What a model costs on an NPU: cycles, traffic and energy, from its layers or from events."""
