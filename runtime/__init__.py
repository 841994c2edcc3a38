"""From a compiled model to trained, verified agents. Generic over agent types: nothing here knows an economy."""
