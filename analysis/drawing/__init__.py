"""What figures of several sections share: the theme and the parts of panels."""
