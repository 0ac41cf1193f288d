"""The theme and the parts of panels that figures of several sections share."""
