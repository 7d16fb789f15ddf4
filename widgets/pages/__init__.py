"""The pages of the served app. Each is a function from a visit to what it shows; Panel stays in `widgets.app`."""
