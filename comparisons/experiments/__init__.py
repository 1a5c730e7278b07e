"""What recurrent networks do to gradients and states, drawn as in the papers."""
