"""For a photo at hand: predict; knows the model, not the framework."""
